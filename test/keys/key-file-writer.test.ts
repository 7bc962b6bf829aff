// The key file on disk: who may read it at every moment, whose it stays, and what happens where it cannot be replaced.
import fs, {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { changeKeyFile, type WriterOptions } from "../../src/keys/key-file-writer.ts";
import { createKeyFile, writeNewFile } from "../../src/keys/key-store.ts";
import { testIf } from "../helpers/skip.ts";

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), "writer-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

const modeOf = (path: string) => statSync(path).mode & 0o777;
const to = (text: string) => () => Buffer.from(text);

/** Writes and gives the warnings. */
async function write(path: string, text: string, options: Partial<WriterOptions> = {}): Promise<string[]> {
  const warnings: string[] = [];
  await changeKeyFile(path, to(text), { warn: (warning) => warnings.push(warning), ...options });
  return warnings;
}

test.serial("a missing file is made, closed to all others, whatever the umask", async (t) => {
  const folder = folderOf(t);
  for (const mask of [0, 0o377]) {
    const umask = process.umask(mask);
    const path = join(folder, `keys-${mask}`);
    const seen: unknown[] = [];
    await changeKeyFile(path, (bytes) => Buffer.from(String(seen.push(bytes))), { warn: t.fail });
    process.umask(umask);
    t.deepEqual(seen, [undefined]);
    t.is(modeOf(path), 0o600);
  }
  t.is(readdirSync(folder).length, 2);
});

test.serial("a new file is closed to all others in the very moment in which it appears", (t) => {
  const folder = folderOf(t);
  const { openSync } = fs;
  const modes: number[] = [];
  fs.openSync = (...args) => {
    const file = openSync(...args);
    modes.push(fs.fstatSync(file).mode & 0o777);
    return file;
  };
  syncBuiltinESMExports();
  const umask = process.umask(0);
  try {
    writeNewFile(join(folder, "keys"), "a:b");
    createKeyFile(join(folder, "first"), () => {});
  } finally {
    process.umask(umask);
    fs.openSync = openSync;
    syncBuiltinESMExports();
  }
  t.deepEqual(modes, [0o600, 0o600]);
});

test.serial(
  "the new content takes the file's place in one step, through a file that nobody else could ever read",
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "keys");
    writeFileSync(path, "old", { mode: 0o600 });
    const { ino } = statSync(path);
    const umask = process.umask(0);
    const rename: WriterOptions["rename"] = (from, target) => {
      t.is(modeOf(from), 0o600);
      t.is(readFileSync(from, "utf8"), "new");
      t.is(readFileSync(target, "utf8"), "old");
      t.deepEqual(readdirSync(folder).length, 3, "the file, its lock and what will replace it");
      rmSync(target);
      writeFileSync(target, "new", { mode: 0o600 });
    };
    t.deepEqual(await write(path, "new", { rename }), []);
    t.deepEqual(await write(path, "newer"), []);
    process.umask(umask);
    t.not(statSync(path).ino, ino);
    t.is(readFileSync(path, "utf8"), "newer");
    t.deepEqual(readdirSync(folder), ["keys"]);
  },
);

test.serial("a mode that shuts others out is kept, any other becomes 0600", async (t) => {
  const path = join(folderOf(t), "keys");
  for (const [mode, after] of [
    [0o640, 0o640],
    [0o660, 0o660],
    [0o400, 0o400],
    [0o644, 0o600],
    [0o666, 0o600],
  ] as const) {
    writeFileSync(path, "old");
    chmodSync(path, mode);
    await write(path, "new");
    t.is(modeOf(path), after, mode.toString(8));
    rmSync(path);
  }
});

testIf(process.getuid?.() === 0, "only root may give files away", "owner and group stay", async (t) => {
  const path = join(folderOf(t), "keys");
  writeFileSync(path, "old", { mode: 0o600 });
  chownSync(path, 12_345, 54_321);
  t.deepEqual(await write(path, "new"), []);
  const { uid, gid } = statSync(path);
  t.deepEqual([uid, gid], [12_345, 54_321]);
});

test.serial(
  "where the file cannot be replaced it is written in place, with a warning, and stays the same file",
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "keys");
    for (const code of ["EBUSY", "EXDEV", "EPERM", "EACCES", "EROFS"]) {
      for (const text of ["longer than before", "short", ""]) {
        writeFileSync(path, "as it was", { mode: 0o600 });
        const { ino } = statSync(path);
        const rename = () => {
          throw Object.assign(new Error("refused"), { code });
        };
        const warnings = await write(path, text, { rename });
        t.is(warnings.length, 1);
        t.regex(warnings[0]!, new RegExp(`${code}.*written in place`));
        t.is(readFileSync(path, "utf8"), text);
        t.is(statSync(path).ino, ino);
        t.deepEqual(readdirSync(folder), ["keys"]);
      }
    }
  },
);

test.serial("any other failure leaves the file as it was, and nothing beside it", async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "keys");
  writeFileSync(path, "old");
  const full = Object.assign(new Error("disk full"), { code: "ENOSPC" });
  const rename = () => {
    throw full;
  };
  await t.throwsAsync(write(path, "new", { rename }), { is: full });
  const change = () => {
    throw new Error("no such key");
  };
  await t.throwsAsync(changeKeyFile(path, change, { warn: t.fail }), { message: "no such key" });
  t.is(readFileSync(path, "utf8"), "old");
  t.deepEqual(readdirSync(folder), ["keys"]);
});

test.serial("a link stays a link; what it leads to is replaced", async (t) => {
  const folder = folderOf(t);
  const real = join(folder, "real", "keys");
  mkdirSync(join(folder, "real"));
  writeFileSync(real, "old", { mode: 0o600 });
  const link = join(folder, "link");
  symlinkSync(real, link);
  await write(link, "new");
  t.true(lstatSync(link).isSymbolicLink());
  t.is(readFileSync(real, "utf8"), "new");
});

test.serial("what is no file, or has no folder, is refused by name", async (t) => {
  const folder = folderOf(t);
  await t.throwsAsync(write(folder, "new"), { message: /is not a regular file/ });
  await t.throwsAsync(write("/dev/null", "new"), { message: /is not a regular file/ });
  await t.throwsAsync(write(join(folder, "none", "keys"), "new"), { message: /there is no folder .*none/ });
  t.deepEqual(readdirSync(folder), []);
});

test.serial("writers one after another: none is lost", async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "keys");
  const add = (text: string) =>
    changeKeyFile(path, (bytes) => Buffer.from(`${bytes ?? ""}${text}\n`), { warn: t.fail });
  const names = Array.from({ length: 30 }, (_, index) => `line ${index}`);
  await Promise.all(names.map(add));
  t.deepEqual(readFileSync(path, "utf8").trim().split("\n").sort(), names.sort());
  t.deepEqual(readdirSync(folder), ["keys"]);
});
