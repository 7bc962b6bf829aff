// Which folder becomes DATA_DIR, and what happens when it cannot be written to or created.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import test from "ava";
import { chooseDataDir, type Look, prepareDataDir } from "../../src/config/data-dir.ts";
import { ConfigError } from "../../src/config/error.ts";

/** A file system in which these folders exist; those that end with "!" cannot be written to. */
function folders(...names: string[]): Look {
  const writable = new Map(["/", ...names].map((name) => [name.replace("!", ""), !name.endsWith("!")]));
  return {
    kind: (path) => (path === "/a-file" ? "other" : writable.has(path) ? "folder" : "missing"),
    writable: (path) => writable.get(path) ?? false,
  };
}
const cwd = process.cwd();

test("an explicit folder wins over all mounts", (t) => {
  t.like(chooseDataDir("/mine", folders("/mine", "/data")), { path: "/mine", rule: "DATA_DIR is set", writable: true });
});

test("an explicit folder that is missing is created, also below missing ones", (t) => {
  t.like(chooseDataDir("/mine/a/b", folders("/mine")), { writable: true, problem: undefined });
});

test("an explicit folder that is read-only is used without writing", (t) => {
  t.like(chooseDataDir("/mine", folders("/mine!")), { path: "/mine", writable: false, problem: undefined });
});

test("an explicit folder that cannot be created is a problem", (t) => {
  t.is(chooseDataDir("/mine/a", folders("/mine!")).problem, "/mine/a does not exist and cannot be created");
  t.is(chooseDataDir("/a-file/a", folders()).problem, "/a-file/a does not exist and cannot be created");
  t.is(chooseDataDir("/a-file", folders()).problem, "/a-file exists but is not a folder");
});

test("the first mount that exists and is writable is taken", (t) => {
  t.is(chooseDataDir(undefined, folders("/runpod-volume", "/workspace", "/data")).path, "/runpod-volume");
  t.is(chooseDataDir(undefined, folders("/runpod-volume!", "/workspace", "/data")).path, "/workspace");
  const { path, rule } = chooseDataDir(undefined, folders("/data"));
  t.is(path, "/data");
  t.is(rule, "/data exists and is writable");
});

test("without a mount it is ./data", (t) => {
  t.like(chooseDataDir(undefined, folders(cwd)), { path: resolve("data"), writable: true });
  t.like(chooseDataDir(undefined, folders(`${cwd}!`)), { path: resolve("data"), writable: false, problem: undefined });
  t.like(chooseDataDir(undefined, folders(cwd, `${resolve("data")}!`)), { writable: false });
  t.regex(chooseDataDir(undefined, folders(cwd)).rule, /^DATA_DIR is not set and none of .* is a writable folder$/);
});

test("choosing creates nothing, preparing creates the folder and models/ in it", (t) => {
  const parent = mkdtempSync(join(tmpdir(), "data-dir-"));
  t.teardown(() => rmSync(parent, { recursive: true }));
  const chosen = chooseDataDir(join(parent, "a", "b"));
  t.true(chosen.writable);
  t.false(existsSync(join(parent, "a")));
  t.deepEqual(prepareDataDir(chosen), chosen);
  t.true(existsSync(join(parent, "a", "b", "models")));
});

test("a folder that could not be created after all: an error when it was asked for, else no writing", (t) => {
  const parent = mkdtempSync(join(tmpdir(), "data-dir-"));
  t.teardown(() => rmSync(parent, { recursive: true }));
  const path = join(parent, "file", "data");
  writeFileSync(join(parent, "file"), "");
  const asked = { path, rule: "DATA_DIR is set", writable: true };
  t.throws(() => prepareDataDir(asked), { instanceOf: ConfigError, message: /cannot be created/ });
  t.like(prepareDataDir({ ...asked, rule: "another" }), { path, writable: false });
});

test("a path below a file of the real file system is a problem, not a crash", (t) => {
  const parent = mkdtempSync(join(tmpdir(), "data-dir-"));
  t.teardown(() => rmSync(parent, { recursive: true }));
  writeFileSync(join(parent, "file"), "");
  t.regex(chooseDataDir(join(parent, "file", "x")).problem ?? "", /cannot be created$/);
  t.regex(chooseDataDir(join(parent, "file")).problem ?? "", /is not a folder$/);
});
