// The lock of the key file: one at a time, bounded waits, and the locks of dead processes.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { withFileLock } from "../../src/keys/file-lock.ts";

function lockIn(t: ExecutionContext): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), "lock-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return { folder, path: join(folder, "keys.lock") };
}

/** The id of a process that has ended. */
const deadPid = () => spawnSync(process.execPath, ["--version"]).pid;
const uuid = "01234567-89ab-cdef-0123-456789abcdef";

/** A lock as another process left it. */
function leave(
  path: string,
  { pid, host = hostname(), ageSeconds = 60 }: { pid: number; host?: string; ageSeconds?: number },
) {
  writeFileSync(path, `${pid} ${host} ${uuid}`);
  const changed = Date.now() / 1000 - ageSeconds;
  utimesSync(path, changed, changed);
}

test("work happens under the lock, and the lock is gone afterwards, also when the work failed", async (t) => {
  const { folder, path } = lockIn(t);
  const result = await withFileLock(path, () => {
    t.true(readFileSync(path, "utf8").startsWith(`${process.pid} ${hostname()} `));
    return "done";
  });
  t.is(result, "done");
  await t.throwsAsync(
    withFileLock(path, () => {
      throw new Error("no");
    }),
    { message: "no" },
  );
  t.deepEqual(readdirSync(folder), []);
});

test("a held lock is waited for, and then the message names its holder and the file", async (t) => {
  const { folder, path } = lockIn(t);
  leave(path, { pid: process.pid });
  const late = withFileLock(path, () => t.fail(), 50);
  await t.throwsAsync(late, { message: new RegExp(`process ${process.pid} on .*remove ${path}`) });
  const waiting = withFileLock(path, () => "done");
  rmSync(path);
  t.is(await waiting, "done");
  t.deepEqual(readdirSync(folder), []);
});

test("the lock of a process that is gone is cleared away, once it is old", async (t) => {
  const { folder, path } = lockIn(t);
  leave(path, { pid: deadPid() });
  t.is(await withFileLock(path, () => "done"), "done");
  t.deepEqual(readdirSync(folder), []);
});

test("a lock that may be in use is never taken: young, of another machine, of a living process, or unreadable", async (t) => {
  const { path } = lockIn(t);
  const cases = [
    () => leave(path, { pid: deadPid(), ageSeconds: 0 }),
    () => leave(path, { pid: deadPid(), host: `not-${hostname()}` }),
    () => leave(path, { pid: process.pid }),
    () => writeFileSync(path, ""),
    () => writeFileSync(path, "hello"),
  ];
  for (const prepare of cases) {
    prepare();
    const text = readFileSync(path, "utf8");
    await t.throwsAsync(
      withFileLock(path, () => t.fail(), 30),
      { message: /another command/ },
    );
    t.is(readFileSync(path, "utf8"), text);
    rmSync(path);
  }
});

test("of several waiters at a dead lock each gets its turn alone", async (t) => {
  const { folder, path } = lockIn(t);
  leave(path, { pid: deadPid() });
  let done = 0;
  const waiter = () =>
    withFileLock(path, () => {
      t.true(existsSync(path));
      done += 1;
    });
  await Promise.all(Array.from({ length: 20 }, waiter));
  t.is(done, 20);
  t.deepEqual(readdirSync(folder), []);
});
