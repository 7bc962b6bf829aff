// Who is let in: every form of a credential, every reason of a refusal, and what becomes of the key file at start.
import { createHash, timingSafeEqual } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { Failure } from "../../src/errors.ts";
import { readCredential } from "../../src/http/bearer.ts";
import { parseKeyFile } from "../../src/keys/key-file.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { loadKeyRing } from "../../src/keys/load.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { testConfig, testKeys } from "../helpers/server.ts";

const key = "sk-0123456789abcdef";
const other = "sk-fedcba9876543210";

const identify = (ring: KeyRing, headers: Record<string, string>) => ring.authenticate(readCredential(headers));

function refusal(ring: KeyRing, headers: Record<string, string>): Failure {
  try {
    identify(ring, headers);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("let in");
}

test("a key is read from Authorization with or without Bearer, and from x-api-key", (t) => {
  const ring = testKeys(`a:${key}\nb:${other}`);
  for (const value of [`Bearer ${key}`, `bearer ${key}`, `BEARER   ${key}  `, `Bearer\t${key}`, key, ` ${key}`]) {
    t.is(identify(ring, { authorization: value }).keyId, "a", value);
  }
  t.is(identify(ring, { "x-api-key": other }).keyId, "b");
  t.is(identify(ring, { "x-api-key": ` ${other} ` }).keyId, "b");
});

test("Authorization alone is judged when it is there", (t) => {
  const ring = testKeys(`a:${key}\nb:${other}`);
  t.is(identify(ring, { authorization: key, "x-api-key": "wrong" }).keyId, "a");
  t.throws(() => identify(ring, { authorization: "", "x-api-key": other }), { instanceOf: Failure });
});

test("a refusal tells apart why, and always says how to ask", (t) => {
  const expired = testKeys(`a:${key}::2026-01-01`, () => Date.UTC(2026, 0, 1));
  const ring = testKeys(`a:${key}`);
  const reasons: [Failure, RegExp][] = [
    [refusal(testKeys(""), { authorization: key }), /^No API keys are loaded/],
    [refusal(ring, {}), /^Missing API key: /],
    [refusal(ring, { authorization: "" }), /^The Authorization header is empty/],
    [refusal(ring, { authorization: "Bearer" }), /^The Authorization header is empty/],
    [refusal(ring, { authorization: "Bearer  " }), /^The Authorization header is empty/],
    [refusal(ring, { "x-api-key": " " }), /^The x-api-key header is empty/],
    [refusal(ring, { authorization: `Basic ${Buffer.from(`a:${key}`).toString("base64")}` }), /^Malformed credential/],
    [refusal(ring, { authorization: `Bearer ${key} ${key}` }), /^Malformed credential/],
    [refusal(ring, { authorization: "Bearer short" }), /^Malformed credential/],
    [refusal(ring, { "x-api-key": `${key}, ${key}` }), /^Malformed credential/],
    [refusal(ring, { authorization: other }), /^Unknown API key/],
    [refusal(expired, { authorization: key }), /^This API key has expired/],
  ];
  for (const [failure, message] of reasons) {
    t.regex(failure.message, message);
    t.is(failure.kind, "invalid_api_key");
    t.is(failure.status, 401);
    t.is(failure.param, "authorization");
    t.deepEqual(failure.headers, { "WWW-Authenticate": "Bearer" });
    t.false(failure.message.includes(key) || failure.message.includes(other));
  }
});

test("a key counts until the very millisecond of its expiry", (t) => {
  let now = Date.UTC(2026, 0, 1) - 1;
  const ring = testKeys(`a:${key}::2026-01-01`, () => now);
  t.is(identify(ring, { authorization: key }).keyId, "a");
  now += 1;
  t.throws(() => identify(ring, { authorization: key }), { message: /expired/ });
});

test("a stored digest opens with its key, never with itself", (t) => {
  const digest = `sha256-${createHash("sha256").update(key).digest("hex")}`;
  const ring = testKeys(`a:${digest}`);
  t.is(identify(ring, { authorization: key }).keyId, "a");
  for (const sent of [digest, digest.slice("sha256-".length)]) {
    t.regex(refusal(ring, { authorization: `Bearer ${sent}` }).message, /^Unknown/);
  }
});

/** A ring of these keys, and what it has compared since the last look. */
function countingRing(keys: readonly string[]) {
  const compared: { stored: Buffer; sent: Buffer }[] = [];
  const equal = (stored: Buffer, sent: Buffer) => {
    compared.push({ stored, sent });
    return timingSafeEqual(stored, sent);
  };
  const { entries } = parseKeyFile(keys.map((text, index) => `k${index}:${text}`).join("\n"));
  const limits = { requestsPerMinute: 1, tokensPerMinute: 0, concurrentRequests: 0 };
  return { ring: new KeyRing(entries, limits, { equal }), look: () => compared.splice(0) };
}

test("every key is compared with every stored one, in the same order, however wrong or right it is", (t) => {
  const keys = Array.from({ length: 20 }, (_, index) => `sk-stored-key-number-${index}-0123456789`);
  const { ring, look } = countingRing(keys);
  const stored = keys.map((text) => createHash("sha256").update(text).digest());
  const sent = [
    ...keys,
    ...keys.map((text) => `${text.slice(0, -1)}x`),
    ...keys.map((text) => text.slice(0, 16)),
    other,
  ];
  for (const text of sent) {
    if (keys.includes(text)) t.is(identify(ring, { authorization: text }).keyId, `k${keys.indexOf(text)}`);
    else t.regex(refusal(ring, { authorization: text }).message, /^Unknown/);
    t.deepEqual(
      look().map((pair) => pair.stored),
      stored,
    );
  }
});

test("what is compared are hashes: how much of a wrong key is right does not show in them", (t) => {
  const right = "sk-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
  const { ring, look } = countingRing([right]);
  const samples = 300;
  const equalBits = (a: Buffer, b: Buffer) =>
    a.reduce((sum, byte, at) => sum + 8 - (byte ^ b[at]!).toString(2).replaceAll("0", "").length, 0);
  for (const rightCharacters of [0, 3, 15, 30, 40]) {
    let sum = 0;
    for (let sample = 0; sample < samples; sample += 1) {
      const guess = createHash("sha256").update(`${rightCharacters}/${sample}`).digest("hex");
      refusal(ring, { authorization: (right.slice(0, rightCharacters) + guess).slice(0, right.length) });
      const [pair, ...more] = look();
      t.is(more.length, 0);
      sum += equalBits(pair!.stored, pair!.sent);
    }
    // Of 256 bits half are equal by chance; the mean of 300 samples strays from 128 by 0.46 (one standard deviation).
    t.true(Math.abs(sum / samples - 128) < 4, `${rightCharacters} right characters: ${sum / samples} of 256 bits`);
  }
});

test("an identity carries the limits of the key that was sent, with defaults for what its line leaves open", (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "keys");
  writeFileSync(path, `a:${key}:7\na:${other}:/9/2\n`, { mode: 0o600 });
  const ring = loadKeyRing(
    testConfig({ AUTH_KEYS_FILE: path, MAX_REQUESTS_PER_MINUTE: "50", MAX_TOKENS_PER_MINUTE: "1000" }),
    silentLog(),
  );
  t.deepEqual(identify(ring, { authorization: key }), {
    keyId: "a",
    limits: { requestsPerMinute: 7, tokensPerMinute: 1000, concurrentRequests: 0 },
  });
  t.deepEqual(identify(ring, { authorization: other }).limits, {
    requestsPerMinute: 50,
    tokensPerMinute: 9,
    concurrentRequests: 2,
  });
});

test("with AUTH_ENABLED=false everybody is auth-disabled, without limits, and no key file is looked at", (t) => {
  const { log, lines } = capturedLog();
  const ring = loadKeyRing(testConfig({ AUTH_ENABLED: "false" }), log);
  t.false(ring.enabled);
  t.deepEqual(identify(ring, {}), { keyId: "auth-disabled", limits: null });
  t.deepEqual(lines(), []);
});

function temporaryFolder(t: import("ava").ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), "keys-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("a missing file is made with mode 0600 and one key, which is announced once and is in no log", (t) => {
  const path = join(temporaryFolder(t), "keys");
  const { log, text } = capturedLog();
  const announced: string[] = [];
  const load = () => loadKeyRing(testConfig({ AUTH_KEYS_FILE: path }), log, Date.now, (words) => announced.push(words));
  const umask = process.umask(0o277);
  const ring = load();
  process.umask(umask);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is(announced.length, 1);
  const made = /sk-[A-Za-z0-9_-]{43}/.exec(announced[0]!)?.[0];
  t.is(ring.authenticate({ key: made! }).keyId, "default");
  t.true(readFileSync(path, "utf8").includes(`default:${made}\n`));
  t.false(text().includes(made!));
  t.is(load().authenticate({ key: made! }).keyId, "default");
  t.is(announced.length, 1, "the second start makes no other");
});

test("a file that cannot be made or read, is empty, or holds no valid line: nobody is let in, and the log says why", (t) => {
  const folder = temporaryFolder(t);
  const empty = join(folder, "empty");
  writeFileSync(empty, "", { mode: 0o600 });
  const invalid = join(folder, "invalid");
  writeFileSync(invalid, `# nothing\na:${key}:0\n`, { mode: 0o600 });
  const utf16 = join(folder, "utf16");
  writeFileSync(utf16, Buffer.from(`a:${key}\n`, "utf16le"), { mode: 0o600 });
  const missingFolder = join(folder, "no", "keys");
  for (const path of [empty, invalid, utf16, folder, missingFolder, "/dev/null"]) {
    const { log, lines, text } = capturedLog();
    const ring = loadKeyRing(testConfig({ AUTH_KEYS_FILE: path }), log, Date.now, () => t.fail("a key was announced"));
    t.is(ring.size, 0);
    t.regex(refusal(ring, { authorization: key }).message, /^No API keys are loaded/, path);
    t.true(lines().some(({ level }) => level === "error"));
    t.false(text().includes(key));
  }
  t.false(existsSync(missingFolder));
});

test("a file that others can read is a warning, and so is every refused line, by number and id and without its key", (t) => {
  const path = join(temporaryFolder(t), "keys");
  writeFileSync(path, `a:${key}\nb:${other}:0\n`);
  chmodSync(path, 0o644);
  const { log, lines, text } = capturedLog();
  loadKeyRing(testConfig({ AUTH_KEYS_FILE: path }), log);
  const warnings = lines().filter(({ level }) => level === "warn");
  t.is(warnings.length, 2);
  t.regex(String(warnings[0]?.msg), /chmod 600/);
  t.like(warnings[1], { line: 2, keyId: "b" });
  t.like(lines().at(-1), { level: "info", keys: 1, keyIds: ["a"] });
  t.false(text().includes(key) || text().includes(other));
});
