// The log as an operator finds it: lines on stderr and in files, their form, and what happens when a file cannot be written.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import test from "ava";
import { loadConfig } from "../../src/config.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { testIf } from "../helpers/skip.ts";

function collector() {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk).replace(/\n$/, ""));
      done();
    },
  });
  const lines: string[] = [];
  return { stream, lines };
}

/** A log of its own folder; `env` as an operator would write it. */
function open(env: Record<string, string> = {}) {
  const dir = mkdtempSync(join(tmpdir(), "log-"));
  const { config } = loadConfig({ DATA_DIR: dir, INSTANCE_ID: "one", ...env });
  const { stream, lines } = collector();
  return { dir: config.logDir, config, lines, stream, ...createLog(config, stream) };
}

const read = (path: string) => readFileSync(path, "utf8");
const logsIn = (folder: string) => readdirSync(folder).filter((name) => name !== "latest.txt");

test("a text line is time, level, message and key=value", (t) => {
  const { logger, lines } = open();
  logger.warn({ port: 8000, host: "a b", empty: "", gone: null, list: [1, 2] }, "it listens");
  t.regex(lines[0]!, /^\d{4}-\d\d-\d\dT[\d:.]+Z warn it listens port=8000 host="a b" empty="" gone=null list=\[1,2\]$/);
});

test("a JSON line is ts, level, msg and the fields", (t) => {
  const { logger, lines } = open({ LOG_FORMAT: "json" });
  logger.info({ port: 8000 }, "it listens");
  const record = JSON.parse(lines[0]!);
  t.deepEqual(Object.keys(record), ["ts", "level", "msg", "port"]);
  t.like(record, { level: "info", msg: "it listens", port: 8000 });
});

test("LOG_LEVEL hides what is less severe", (t) => {
  const { logger, lines } = open({ LOG_LEVEL: "warn" });
  logger.info("no");
  logger.warn("yes");
  logger.error("yes too");
  t.is(lines.length, 2);
});

test("an error keeps its message, stack and cause on one line", (t) => {
  const { logger, lines } = open();
  logger.error({ err: new Error("outer", { cause: new Error("inner") }) }, "failed");
  t.is(lines.length, 1);
  t.regex(lines[0]!, /outer.*inner.*log\.test/);
});

test("control characters cannot forge a line or drive a terminal, in either format", (t) => {
  const hostile = "a\nb\r\u001b[2J\u0085\u2028\u202e\u007f";
  for (const format of ["text", "json"]) {
    const { logger, lines } = open({ LOG_FORMAT: format });
    logger.info({ value: hostile, "k\u0007": 1 }, hostile);
    t.is(lines.length, 1);
    t.notRegex(lines[0]!, /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    if (format === "json") t.is(JSON.parse(lines[0]!).value, hostile);
  }
});

test("a credential never appears, whichever way it came into a line", (t) => {
  const { logger, lines, dir } = open();
  const key = "sk-ThisIsTheSecretKeyOfTheTest_0123456789";
  logger.info({ headers: { Authorization: `Bearer ${key}`, "x-api-key": "plain-secret-value" } }, `got ${key}`);
  logger.error({ err: new Error(`refused Bearer ${key}`) }, "Authorization: bearer plain-secret-value");
  const written = [...lines, ...logsIn(join(dir, "llama")).map((name) => read(join(dir, "llama", name)))].join("\n");
  t.notRegex(written, /ThisIsTheSecret|plain-secret/);
});

test("boot and server files hold the lines, latest.txt names them, and the boot file ends with the start", (t) => {
  const { logger, dir, endBoot, close } = open({ LOG_NAME: "gateway" });
  logger.info("starting");
  endBoot();
  logger.info("serving");
  close();
  logger.info("after the end");
  const latest = (folder: string) => read(join(dir, folder, "latest.txt")).trim();
  t.regex(latest("_boot"), /_boot\/\d{8}_\d{6}_boot_one\.log$/);
  t.regex(latest("gateway"), /gateway\/\d{8}_\d{6}_server_one\.log$/);
  t.regex(read(latest("_boot")), /^\S+ info starting\n$/);
  t.regex(read(latest("gateway")), /^\S+ info starting\n\S+ info serving\n$/);
});

test("hostile names stay inside LOG_DIR", (t) => {
  const { dir, config } = open({ LOG_NAME: "../../etc", INSTANCE_ID: "../x/y\n" });
  t.deepEqual(readdirSync(dir).sort(), [config.logName, "_boot"].sort());
  t.deepEqual(readdirSync(join(dir, "_boot")).length, 2);
  const typed = open({ WORKER_TYPE: "../a.b" });
  t.true(existsSync(join(typed.dir, "llama-___a_b")));
});

test("a file at LOG_MAX_BYTES becomes .1, then .2, and LOG_MAX_FILES are kept", (t) => {
  const { logger, dir } = open({ LOG_MAX_BYTES: "100", LOG_MAX_FILES: "2" });
  for (let count = 1; count <= 9; count += 1) logger.info(`line ${count} ${"x".repeat(80)}`);
  const files = logsIn(join(dir, "llama")).sort();
  t.is(files.length, 3);
  const [now, newer, older] = files.map((name) => read(join(dir, "llama", name)));
  t.is(now, "", "a full file is moved away at once");
  t.regex(newer!, /line 9/);
  t.regex(older!, /line 8/);
});

test("files of earlier starts are pruned to LOG_MAX_FILES, those of other instances are left", (t) => {
  const first = open({ LOG_MAX_FILES: "2" });
  const folder = join(first.dir, "llama");
  const strangers = ["20200101_000000_server_other.log", "20200101_000000_server_one.log.txt", "notes.txt"];
  const old = ["20200101_000000_server_one.log", "20200101_000000_server_one.log.1", "20200102_000000_server_one.log"];
  for (const name of [...strangers, ...old]) writeFileSync(join(folder, name), "");
  createLog(first.config, first.stream);
  const left = readdirSync(folder);
  for (const name of strangers) t.true(left.includes(name), name);
  t.deepEqual(
    old.filter((name) => left.includes(name)),
    ["20200102_000000_server_one.log"],
  );
});

test("without a writable LOG_DIR the log goes to stderr, with a warning", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "log-"));
  writeFileSync(join(dir, "file"), "");
  const { logger, lines } = open({ LOG_DIR: join(dir, "file", "logs") });
  logger.info("served all the same");
  t.regex(lines[0]!, /warn .*LOG_DIR.*stderr only/);
  t.regex(lines[1]!, /served all the same/);
});

testIf(existsSync("/dev/full"), "no /dev/full here", "a full disk is one warning a minute and fails nothing", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "log-"));
  const folder = join(dir, "logs", "llama");
  mkdirSync(folder, { recursive: true });
  // Whichever second the log is opened in, its file is a link to the device that is always full.
  for (let ahead = 0; ahead < 300; ahead += 1) {
    const stamp = new Date(Date.now() + ahead * 1000).toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "_");
    symlinkSync("/dev/full", join(folder, `${stamp}_server_one.log`));
  }
  const { logger, lines } = open({ DATA_DIR: dir, LOG_MAX_FILES: "1000" });
  for (const message of ["one", "two", "three"]) logger.info(message);
  t.is(lines.filter((line) => /cannot write the log .*ENOSPC/.test(line)).length, 1);
  t.is(lines.filter((line) => / info (one|two|three)$/.test(line)).length, 3);
});

test("reopen() goes on in files of the usual names; where one cannot be opened, the old one stays in use", (t) => {
  const { dir, logger, lines, reopen } = open();
  const path = read(join(dir, "llama", "latest.txt")).trim();
  logger.info("first");
  renameSync(path, `${path}.moved`);
  logger.info("second");
  reopen();
  logger.info("third");
  t.regex(read(`${path}.moved`), /first\n.*second\n$/);
  t.regex(read(path), /^[^\n]*third\n$/);
  rmSync(path);
  mkdirSync(path);
  reopen();
  logger.info("fourth");
  t.true(lines.some((line) => line.includes("warn cannot write the log")));
  t.true(lines.some((line) => line.includes("fourth")));
});
