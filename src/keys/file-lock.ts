// One writer at a time, also across processes: a lock file beside the file that is changed. It bounds the wait, and clears away the
// lock of a process that died; it never takes one from a process that may still work.
import { randomUUID } from "node:crypto";
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** Work under a lock takes milliseconds; one this old belongs to nobody, if its process is gone. */
const abandonedAfterMs = 10_000;
const retryMs = 10;

/**
 * Runs `work` while no other process does so under the same lock. `work` does not wait for anything, so no signal handler can run
 * in the middle of it.
 * @param path of the lock file, made and removed here @param waitMs longest wait for others
 * @throws Error naming the holder when the wait was too long; what the file system or `work` throws
 */
export async function withFileLock<T>(path: string, work: () => T, waitMs = 10_000): Promise<T> {
  // Process, host and a value that no other lock ever had.
  const token = `${process.pid} ${hostname()} ${randomUUID()}`;
  const deadline = performance.now() + waitMs;
  while (!tryToTake(path, token)) {
    clearIfAbandoned(path);
    if (performance.now() >= deadline) throw new Error(heldMessage(path));
    await sleep(retryMs * (1 + Math.random()));
  }
  try {
    return work();
  } finally {
    if (readIfThere(path) === token) rmSync(path);
  }
}

/** @returns false when it is there already */
function tryToTake(path: string, token: string): boolean {
  let file: number;
  try {
    file = openSync(path, "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
  try {
    writeFileSync(file, token);
    return true;
  } catch (error) {
    rmSync(path);
    throw error;
  } finally {
    closeSync(file);
  }
}

/**
 * Two waiters may see the same dead lock, and the slower one must not remove the lock that the faster one took in its place. So the
 * right to remove this very token goes to whoever makes a second lock named after it, and that one looks again.
 */
function clearIfAbandoned(path: string): void {
  const token = readIfThere(path);
  if (!token || !isAbandoned(path, token)) return;
  const claim = `${path}.${token.split(" ")[2]}`;
  if (!tryToTake(claim, "")) return;
  try {
    if (readIfThere(path) === token) rmSync(path);
  } finally {
    rmSync(claim);
  }
}

function isAbandoned(path: string, token: string): boolean {
  const [pid, host, id] = token.split(" ");
  if (host !== hostname() || !/^\d+$/.test(pid!) || !/^[0-9a-f-]{36}$/.test(id ?? "")) return false;
  const changedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
  return Date.now() - changedMs > abandonedAfterMs && !isRunning(Number(pid));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function heldMessage(path: string): string {
  const [pid, host] = readIfThere(path)?.split(" ") ?? [];
  const holder = pid && host ? ` (process ${pid} on ${host})` : "";
  return `another command is changing the key file${holder}; if that is not so, remove ${path}`;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
