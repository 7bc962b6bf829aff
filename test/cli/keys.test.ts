// `llama-gguf keys` as an operator runs it: what it prints where, what it leaves in the file, and how it ends.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseKeyFile } from "../../src/keys/key-file.ts";
import { packageRoot } from "../../src/paths.ts";
import { runCli } from "../helpers/cli.ts";
import { startNode } from "../helpers/process.ts";
import { testKeys } from "../helpers/server.ts";
import { testIf } from "../helpers/skip.ts";

const keyForm = /^sk-[A-Za-z0-9_-]{43}\n$/;
const key = "sk-0123456789abcdef";
const other = "sk-fedcba9876543210";
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

type Setup = {
  readonly folder: string;
  readonly path: string;
  /** Runs `keys <args> --file <path>`. */
  readonly keys: (...args: string[]) => ReturnType<typeof runCli>;
  readonly text: () => string;
};

/** @param text of the key file; undefined = there is none */
function setup(t: ExecutionContext, text?: string): Setup {
  const folder = mkdtempSync(join(tmpdir(), "keys-cli-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "keys");
  if (text !== undefined) writeFileSync(path, text, { mode: 0o600 });
  const keys = (...args: string[]) => runCli(["keys", ...args, "--file", path]);
  return { folder, path, keys, text: () => readFileSync(path, "utf8") };
}

test("generate makes the file, prints the key alone on stdout, and ends with a hint how to reload", (t) => {
  const { folder, path, keys, text } = setup(t);
  const { code, stdout, stderr } = keys("generate", "--name", "alice");
  t.is(code, 0, stderr);
  t.regex(stdout, keyForm);
  t.is(text(), `alice:${stdout}`);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.deepEqual(readdirSync(folder), ["keys"]);
  t.regex(stderr, /not shown again.*SIGHUP.*POST \/reload/);
  t.false(stderr.includes(stdout.trim()));
  t.is(testKeys(text()).authenticate({ key: stdout.trim() }).keyId, "alice", "the server takes it");
});

test("generate with everything: the server reads what was meant", (t) => {
  const { keys, text } = setup(t, `# my keys\nold:${key}`);
  const before = Date.now();
  const first = keys("generate", "--name", "a", "--limits", "60/1000/2", "--expires", "36h", "--hashed");
  const second = keys("generate", "--name=b", "--rate-limit=7", "--expires=2099-12-31T10:00+02:00");
  t.deepEqual([first.code, second.code], [0, 0]);
  t.true(text().startsWith(`# my keys\nold:${key}\na:sha256-${sha256(first.stdout.trim())}:60/1000/2:`));
  t.regex(text(), /:60\/1000\/2:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\nb:/);
  const [, a, b] = parseKeyFile(text()).entries;
  t.deepEqual(a?.limits, { requestsPerMinute: 60, tokensPerMinute: 1000, concurrentRequests: 2 });
  const hours = 36 * 3_600_000;
  t.true(a!.expiresAtMs! >= before + hours && a!.expiresAtMs! <= Date.now() + hours + 1000);
  t.deepEqual(b?.limits, { requestsPerMinute: 7 });
  t.is(b?.expiresAtMs, Date.UTC(2099, 11, 31, 8));
  t.is(testKeys(text()).authenticate({ key: first.stdout.trim() }).keyId, "a");
});

test("--hash is --hashed", (t) => {
  const { keys, text } = setup(t);
  const { stdout } = keys("generate", "--name", "a", "--hash");
  t.is(text(), `a:sha256-${sha256(stdout.trim())}\n`);
});

test("generate does not touch a key that is there: exit 1", (t) => {
  const { keys, text } = setup(t, `a:${key}\n`);
  const { code, stdout, stderr } = keys("generate", "--name", "a");
  t.deepEqual([code, stdout, text()], [1, "", `a:${key}\n`]);
  t.regex(stderr, /^a exists already, in line 1/);
});

const wrong: string[][] = [
  [],
  ["frobnicate"],
  ["generate"],
  ["generate", "--name", "a\nb"],
  ["generate", "--name", "a", "extra"],
  ["generate", "--name", "a", "--limits", "1", "--rate-limit", "1"],
  ["generate", "--name", "a", "--expires", "never"],
  ["generate", "--name", "a", "--keep-old", "1h"],
  ["rotate", "--name", "a", "--keep-old", "2099-01-01"],
  ["remove"],
  ["list", "--name", "a"],
];

test("wrong usage is exit 2 with the usage on stderr, and makes no file", (t) => {
  const { folder, keys } = setup(t);
  for (const args of wrong) {
    const { code, stdout, stderr } = keys(...args);
    t.deepEqual([code, stdout], [2, ""], JSON.stringify(args));
    t.regex(stderr, /Usage: llama-gguf keys/, JSON.stringify(args));
  }
  t.deepEqual(readdirSync(folder), []);
});

test("--file and --quiet may stand before or after the subcommand; quiet prints results only", (t) => {
  const { path } = setup(t);
  const places = [
    ["keys", "--file", path, "--quiet", "generate", "--name", "a"],
    ["keys", "generate", "--quiet", "--name", "b", "--file", path],
    ["keys", "--quiet", "generate", "--name", "c", `--file=${path}`],
    ["keys", "--file", path, "rotate", "--name", "c", "--quiet"],
  ];
  for (const args of places) {
    const { code, stdout, stderr } = runCli(args);
    t.is(code, 0, stderr);
    t.regex(stdout, keyForm);
    t.is(stderr, "");
  }
  const { stdout, stderr } = runCli(["keys", "--quiet", "--file", path, "list"]);
  t.regex(stdout, /^3 valid keys$/m);
  t.is(stderr, "");
  t.deepEqual(runCli(["keys", "remove", "--name", "a", "--quiet", "--file", path]), {
    code: 0,
    stdout: "",
    stderr: "",
  });
});

test("list shows ids, limits, expiry and status with line number, why a line is refused, and never a key", (t) => {
  const swapped = "0123456789abcdef01234567";
  const { keys } = setup(
    t,
    `# keys\nalice:${key}:60//2\nbob:${other}::2020-01-01 10:00+02:00\ncarol:${key}\n` +
      `dave:sha256-${sha256("x")}\n${swapped}:erin\nfrank:sk-short\n${`${key}0`}:grace-0123456789abcdef\n`,
  );
  const { code, stdout, stderr } = keys("list");
  t.is(code, 0);
  const rows = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {2,}/));
  t.deepEqual(rows, [
    ["KEY_ID", "LIMITS", "EXPIRY", "STATUS"],
    ["alice", "60/-/2", "never", "active (line 2)"],
    ["bob", "default", "2020-01-01T08:00:00Z", "expired (line 3)"],
    ["carol", "invalid (line 4)"],
    ["dave", "default", "never", "active (line 5)"],
    ["?", "invalid (line 6)"],
    ["frank", "invalid (line 7)"],
    ["sk-***", "default", "never", "active (line 8)"],
    ["3 valid keys, 1 expired, 3 invalid"],
  ]);
  t.regex(stderr, /^line 4 \(carol\): the same key as line 2 \(alice\), which is used$/m);
  t.regex(stderr, /^line 6: api_key: /m);
  for (const secret of [key, other, swapped, "sk-short", sha256("x")])
    t.false((stdout + stderr).includes(secret), secret);
});

test("list without a file: a hint, count 0, exit 0", (t) => {
  const { folder, keys } = setup(t);
  const { code, stdout, stderr } = keys("list");
  t.deepEqual([code, stdout], [0, "0 valid keys\n"]);
  t.regex(stderr, /no key file .*keys generate --name/);
  t.deepEqual(readdirSync(folder), []);
});

test("list of a file without keys counts 0; of what is no file, exit 1", (t) => {
  t.deepEqual(setup(t, "# none\n").keys("list"), { code: 0, stdout: "0 valid keys\n", stderr: "" });
  const { code, stdout, stderr } = runCli(["keys", "list", "--file", "/dev/null"]);
  t.deepEqual([code, stdout], [1, ""]);
  t.regex(stderr, /not a regular file/);
});

test("remove deletes every line of the id; an unknown one is exit 1", (t) => {
  const { folder, keys, text } = setup(t, `# x\r\na:${key}\r\nb:${other}\r\na:broken\r\n`);
  const unknown = keys("remove", "--name", "c");
  t.is(unknown.code, 1);
  t.regex(unknown.stderr, /^no key named c/);
  const { code, stdout, stderr } = keys("remove", "--name", "a");
  t.deepEqual([code, stdout, text()], [0, "", `# x\r\nb:${other}\r\n`]);
  t.regex(stderr, /^Removed a\. .*SIGHUP/);
  t.deepEqual(readdirSync(folder), ["keys"]);
});

test("rotate replaces the key, keeps the rest, and --keep-old lets the old one count for a while", (t) => {
  const { keys, text } = setup(t, `a:${key}:60:\nb:${other}\n`);
  const { code, stdout, stderr } = keys("rotate", "--name", "a", "--keep-old", "2h");
  t.is(code, 0, stderr);
  const [fresh, old, b] = text().split("\n");
  t.is(`${fresh}\n`, `a:${stdout.trim()}:60\n`);
  t.regex(old!, new RegExp(`^a:${key}:60:\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$`));
  t.is(b, `b:${other}`);
  const authenticate = (sent: string, ms: number) => testKeys(text(), () => ms).authenticate({ key: sent });
  const hour = 3_600_000;
  t.is(authenticate(key, Date.now() + hour).keyId, "a");
  t.throws(() => authenticate(key, Date.now() + 3 * hour), { message: /expired/ });
  t.is(authenticate(stdout.trim(), Date.now() + 3 * hour).keyId, "a");
});

test("rotate says when the new key is dead from the start, and takes what it is told", (t) => {
  const { keys, text } = setup(t, `a:${key}:60/5:2020-01-01\n`);
  const dead = keys("rotate", "--name", "a", "--hashed", "--quiet");
  t.is(dead.code, 0);
  t.regex(dead.stderr, /warning: the new key of a has expired already/);
  t.is(text(), `a:sha256-${sha256(dead.stdout.trim())}:60/5:2020-01-01\n`);
  const alive = keys("rotate", "--name", "a", "--expires", "never", "--rate-limit", "9", "--no-hashed", "--quiet");
  t.is(alive.stderr, "");
  t.is(text(), `a:${alive.stdout.trim()}:9/5\n`);
  t.is(keys("rotate", "--name", "b").code, 1);
});

test("without --file the server's own path counts, and a wrong configuration is exit 2", (t) => {
  const { folder } = setup(t);
  const dataDir = join(folder, "new");
  const made = runCli(["keys", "generate", "--name", "a"], { DATA_DIR: dataDir });
  t.is(made.code, 0, made.stderr);
  t.is(readFileSync(join(dataDir, "api_keys.txt"), "utf8"), `a:${made.stdout}`);
  const path = join(folder, "elsewhere");
  t.is(runCli(["keys", "generate", "--name", "b"], { DATA_DIR: dataDir, AUTH_KEYS_FILE: path }).code, 0);
  t.true(existsSync(path));
  const wrongSetting = runCli(["keys", "list"], { DATA_DIR: dataDir, PORT: "80a" });
  t.is(wrongSetting.code, 2);
  t.regex(wrongSetting.stderr, /PORT/);
});

test("a file that cannot be changed is exit 1, and nothing is printed that looks like a new key", (t) => {
  const { folder } = setup(t);
  for (const path of [folder, join(folder, "none", "keys")]) {
    const { code, stdout, stderr } = runCli(["keys", "generate", "--name", "a", "--file", path]);
    t.deepEqual([code, stdout], [1, ""]);
    t.true(stderr.includes(folder));
  }
});

test("writers side by side: every key is there, once, and no file is left over", async (t) => {
  const { folder, path, text } = setup(t, "# keys\n");
  const cli = join(packageRoot, "dist", "src", "cli", "llama-gguf.js");
  const names = Array.from({ length: 8 }, (_, index) => `k${index}`);
  const ends = await Promise.all(
    names.map(async (name) => {
      const child = startNode(t, [cli, "keys", "--quiet", "generate", "--name", name, "--file", path]);
      return { code: (await child.ended).code, output: child.output };
    }),
  );
  t.deepEqual(
    ends.map(({ code }) => code),
    names.map(() => 0),
  );
  const { entries, warnings } = parseKeyFile(text());
  t.deepEqual(entries.map(({ keyId }) => keyId).sort(), names);
  t.deepEqual(warnings, []);
  for (const { output } of ends) t.true(text().includes(`:${output}`));
  t.deepEqual(readdirSync(folder), ["keys"]);
});

/** Runs a shell script as root of a mount namespace of its own. */
const inOwnMounts = (script: string, ...args: string[]) =>
  spawnSync("unshare", ["--mount", "--map-root-user", "sh", "-ec", script, "sh", ...args], { encoding: "utf8" });
const canMount = inOwnMounts("mount --bind /dev/null /dev/null").status === 0;

const mountTitle = "a file mounted alone is written in place, with a warning, also where its folder is read-only";
testIf(canMount, "this machine lets nobody mount", mountTitle, (t) => {
  for (const readOnly of ["true", "mount -o remount,bind,ro $1"]) {
    const { folder, path, text } = setup(t, `a:${key}\n`);
    const image = join(folder, "image");
    mkdirSync(image);
    writeFileSync(join(image, "keys"), "");
    const script = `mount --bind $1 $1; mount --bind $2 $1/keys; ${readOnly}; exec $3 $4 keys generate --name b --file $1/keys`;
    const cli = join(packageRoot, "dist", "src", "cli", "llama-gguf.js");
    const { status, stdout, stderr } = inOwnMounts(script, image, path, process.execPath, cli);
    t.is(status, 0, stderr);
    t.regex(stdout, keyForm);
    t.regex(stderr, /warning: .*could not be replaced in one step \((EBUSY|EROFS)\), so it was written in place/);
    t.is(text(), `a:${key}\nb:${stdout}`);
    t.deepEqual(readdirSync(image), ["keys"]);
  }
});
