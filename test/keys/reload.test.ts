// Reloading the keys: what becomes of old and new ones for every state of the file, and what the log and the caller are told.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { Failure } from "../../src/errors.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { loadKeyRing } from "../../src/keys/load.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { testConfig } from "../helpers/server.ts";

const key = "sk-0123456789abcdef";
const other = "sk-fedcba9876543210";

function setup(t: ExecutionContext, text: string, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "reload-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "keys");
  const write = (content: string | Buffer) => writeFileSync(path, content, { mode: 0o600 });
  write(text);
  const captured = capturedLog();
  const ring = loadKeyRing(testConfig({ AUTH_KEYS_FILE: path, ...env }), captured.log, Date.now, () => t.fail());
  return { folder, path, write, ring, ...captured };
}

const idOf = (ring: KeyRing, sent: string): string | undefined => {
  try {
    return ring.authenticate({ key: sent }).keyId;
  } catch (error) {
    if (error instanceof Failure && error.kind === "invalid_api_key") return undefined;
    throw error;
  }
};

test("keys, limits and expiries are those of the file as it is now", (t) => {
  const { ring, write, lines } = setup(t, `a:${key}:5\n`);
  write(`b:${key}:7:2099-01-01\nc:${other}\n`);
  t.is(ring.reload(), 2);
  t.deepEqual(ring.authenticate({ key }), {
    keyId: "b",
    limits: { requestsPerMinute: 7, tokensPerMinute: 0, concurrentRequests: 0 },
  });
  t.is(idOf(ring, other), "c");
  t.like(lines().at(-1), { level: "info", keys: 2, keyIds: ["b", "c"] });
  write(`b:${key}::2020-01-01\n`);
  t.is(ring.reload(), 1);
  t.deepEqual([idOf(ring, key), idOf(ring, other)], [undefined, undefined]);
});

test("a file that cannot be read leaves the old keys in force: reload_failed, with the cause for the log", (t) => {
  const { folder, ring, path } = setup(t, `a:${key}\n`);
  const states = [() => rmSync(path), () => rmSync(folder, { recursive: true })];
  for (const state of states) {
    state();
    const failure = t.throws(() => ring.reload(), { instanceOf: Failure }) as Failure;
    t.deepEqual([failure.kind, failure.status], ["reload_failed", 500]);
    t.false(failure.message.includes(folder), "paths are not for clients");
    t.regex((failure.cause as Error).message, /AUTH_KEYS_FILE|ENOENT/);
    t.is(idOf(ring, key), "a");
  }
});

test("a folder in the file's place cannot be read either", (t) => {
  const { ring, path } = setup(t, `a:${key}\n`);
  rmSync(path);
  const config = testConfig({ AUTH_KEYS_FILE: tmpdir() });
  t.throws(() => ring.reload(), { message: /cannot be read/ });
  const broken = loadKeyRing(config, capturedLog().log, Date.now, () => t.fail());
  t.throws(() => broken.reload(), { message: /cannot be read/ });
});

test("a file that is read and holds no key lets nobody in, loudly; the next good one lets them in again", (t) => {
  const { ring, write, lines } = setup(t, `a:${key}\n`);
  for (const text of ["", "# nothing\n", `a:${key}:0\n`, Buffer.from(`a:${key}\n`, "utf16le"), Buffer.alloc(64)]) {
    write(text);
    t.is(ring.reload(), 0);
    t.is(idOf(ring, key), undefined);
    t.like(lines().at(-1), { level: "error" });
    t.regex(String(lines().at(-1)?.msg), /no valid key: every API call is refused/);
    write(`a:${key}\n`);
    t.is(ring.reload(), 1);
    t.is(idOf(ring, key), "a");
  }
});

test("a broken line is refused alone, with a warning by its number and without its key", (t) => {
  const { ring, write, lines, text } = setup(t, `a:${key}\n`);
  write(`a:${key}:0\nb:${other}\n`);
  t.is(ring.reload(), 1);
  t.deepEqual([idOf(ring, key), idOf(ring, other)], [undefined, "b"]);
  t.true(lines().some((entry) => entry.level === "warn" && entry.line === 1 && entry.keyId === "a"));
  t.false(text().includes(key) || text().includes(other));
});

test("an id of ADMIN_KEY_IDS without a key is a warning, at the start and at a reload", (t) => {
  const { ring, write, lines } = setup(t, `a:${key}\n`, { ADMIN_KEY_IDS: "a, root" });
  const warnings = () => lines().filter(({ level }) => level === "warn");
  t.like(warnings()[0], { ADMIN_KEY_IDS: ["root"] });
  write(`root:${key}\n`);
  ring.reload();
  t.like(warnings()[1], { ADMIN_KEY_IDS: ["a"] });
  write(`root:${key}\na:${other}\n`);
  ring.reload();
  t.is(warnings().length, 2);
});

test("without authentication there is nothing to reload", (t) => {
  const { ring } = setup(t, "", { AUTH_ENABLED: "false" });
  t.throws(() => ring.reload(), { instanceOf: Failure, message: /AUTH_ENABLED=false/ });
});
