// The access log's file: it is kept like the other logs, and no request ever fails for it.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { loadConfig } from "../../src/config.ts";
import { AccessFile } from "../../src/telemetry/access-file.ts";
import type { AccessRecord } from "../../src/telemetry/access-line.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { testIf } from "../helpers/skip.ts";

function open(env: Record<string, string> = {}) {
  const dir = env.DATA_DIR ?? mkdtempSync(join(tmpdir(), "access-"));
  const { config } = loadConfig({ DATA_DIR: dir, ...env });
  const captured = capturedLog();
  const file = new AccessFile(config, captured.log);
  return { dir: config.logDir, path: join(config.logDir, "api_access.log"), file, warnings: () => captured.lines() };
}

function record(requestId: string): AccessRecord {
  const nothing = { promptTokens: null, cachedTokens: null, completionTokens: null, finishReason: null, error: null };
  const call = { time: new Date(), keyId: "a", method: "GET", path: "/v1/models", status: 200, requestId };
  return { ...call, ...nothing, queueMs: null, ttftMs: null, durationMs: 1 };
}

const idsIn = (path: string) => [...readFileSync(path, "utf8").matchAll(/ id=(\S+)/g)].map(([, id]) => id);

test("lines are appended to LOG_DIR/api_access.log, across starts", (t) => {
  const first = open();
  first.file.write(record("one"));
  first.file.close();
  const second = open({ DATA_DIR: join(first.dir, "..") });
  second.file.write(record("two"));
  t.deepEqual(idsIn(first.path), ["one", "two"]);
  t.deepEqual(first.warnings(), []);
});

test("LOG_FORMAT=json writes JSON lines", (t) => {
  const { file, path } = open({ LOG_FORMAT: "json" });
  file.write(record("one"));
  t.is(JSON.parse(readFileSync(path, "utf8")).request_id, "one");
});

test("it is rotated at LOG_MAX_BYTES and LOG_MAX_FILES are kept", (t) => {
  const { dir, path, file } = open({ LOG_MAX_BYTES: "150", LOG_MAX_FILES: "2" });
  for (const id of ["a", "b", "c", "d", "e", "f"]) file.write(record(id));
  t.deepEqual(readdirSync(dir).sort(), ["api_access.log", "api_access.log.1", "api_access.log.2"]);
  t.deepEqual([idsIn(`${path}.2`), idsIn(`${path}.1`), idsIn(path)], [["c", "d"], ["e", "f"], []]);
});

test("instances that share the file rotate it once for all, and lose no line", (t) => {
  const one = open({ LOG_MAX_BYTES: "400", LOG_MAX_FILES: "9" });
  const two = open({ DATA_DIR: join(one.dir, ".."), LOG_MAX_BYTES: "400", LOG_MAX_FILES: "9" });
  const ids = Array.from({ length: 20 }, (_, index) => `r${index}`);
  for (const [index, id] of ids.entries()) (index % 2 === 0 ? one : two).file.write(record(id));
  const kept = readdirSync(one.dir).flatMap((name) => idsIn(join(one.dir, name)));
  t.deepEqual(kept.sort(), ids.sort());
});

test("after reopen() the lines go into a file of the usual name, when the old one was moved away", (t) => {
  const { path, file } = open();
  file.write(record("one"));
  renameSync(path, `${path}.moved`);
  file.reopen();
  file.write(record("two"));
  t.deepEqual([idsIn(`${path}.moved`), idsIn(path)], [["one"], ["two"]]);
});

test("after close() records are dropped", (t) => {
  const { path, file, warnings } = open();
  file.close();
  file.write(record("late"));
  t.is(readFileSync(path, "utf8"), "");
  t.deepEqual(warnings(), []);
});

test("without a writable LOG_DIR there is one warning a minute, and the lines come back with the folder", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "access-"));
  writeFileSync(join(dir, "logs"), "in the way");
  const { file, path, warnings } = open({ DATA_DIR: dir });
  file.write(record("lost"));
  t.is(warnings().length, 1);
  t.regex(String(warnings()[0]!.msg), /access log/);
  renameSync(join(dir, "logs"), join(dir, "moved"));
  file.write(record("kept"));
  t.deepEqual(idsIn(path), ["kept"]);
});

testIf(existsSync("/dev/full"), "no /dev/full here", "a full disk is one warning and fails nothing", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "access-"));
  mkdirSync(join(dir, "logs"));
  symlinkSync("/dev/full", join(dir, "logs", "api_access.log"));
  const { file, warnings } = open({ DATA_DIR: dir });
  for (const id of ["one", "two", "three"]) file.write(record(id));
  t.is(warnings().length, 1);
});
