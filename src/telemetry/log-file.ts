// One log file with its rotation, and the folder's upkeep (latest.txt, pruning). Writes are synchronous: what was logged before a
// native crash is on disk. It never judges what is written.
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export type LogFileLimits = {
  /** Size at which the file is rotated; 0 = never. */
  readonly maxBytes: number;
  /** Rotated files kept, and files of earlier starts. */
  readonly maxFiles: number;
};

/** How often it is looked whether somebody else moved the file away. */
const lookEveryMs = 1000;

export class LogFile {
  readonly path: string;
  readonly #limits: LogFileLimits;
  #fd: number;
  #bytes: number;
  #inode: number;
  #lookedAtMs = Date.now();

  /** @throws the file system's error when the file cannot be opened for appending */
  constructor(path: string, limits: LogFileLimits) {
    this.path = path;
    this.#limits = limits;
    this.#fd = openSync(path, "a");
    ({ size: this.#bytes, ino: this.#inode } = fstatSync(this.#fd));
  }

  /** @throws the file system's error; a later write may succeed again */
  write(line: string): void {
    const now = Date.now();
    if (now - this.#lookedAtMs >= lookEveryMs) {
      this.#lookedAtMs = now;
      if (this.#movedAway()) this.reopen();
    }
    this.#bytes += writeSync(this.#fd, line);
    const { maxBytes } = this.#limits;
    if (maxBytes > 0 && this.#bytes >= maxBytes) this.#rotate();
  }

  /** Goes on in a file of the usual name, when this one was moved away. @throws the file system's error; the old file stays in use */
  reopen(): void {
    // The new file is open before the old one is closed: a failure in between leaves a usable descriptor.
    const fd = openSync(this.path, "a");
    closeSync(this.#fd);
    this.#fd = fd;
    ({ size: this.#bytes, ino: this.#inode } = fstatSync(fd));
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** `x.log` becomes `x.log.1`, that becomes `.2`, and so on up to maxFiles. */
  #rotate(): void {
    // Instances that share the file grow it together, and the first of them to notice has rotated it for all.
    if (!this.#movedAway()) this.#shiftNames();
    this.reopen();
  }

  #shiftNames(): void {
    const names = [this.path, ...Array.from({ length: this.#limits.maxFiles }, (_, at) => `${this.path}.${at + 1}`)];
    rmSync(names.at(-1)!, { force: true });
    for (let at = names.length - 2; at >= 0; at -= 1) renameIfThere(names[at]!, names[at + 1]!);
  }

  /** True when the name stands for another file now, or for none. Otherwise takes over what others wrote into it. */
  #movedAway(): boolean {
    const there = statSync(this.path, { throwIfNoEntry: false });
    if (there?.ino !== this.#inode) return true;
    this.#bytes = there.size;
    return false;
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** UTC, as in `20260131_235959`. */
const stampOf = (time: Date): string => time.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "_");

/**
 * Opens `<folder>/<stamp>_<kind>_<instanceId>.log`, names it in latest.txt and removes this instance's oldest files.
 * @throws the file system's error
 */
export function openStampedLog(
  folder: string,
  kind: string,
  instanceId: string,
  limits: LogFileLimits,
  start: Date,
): LogFile {
  mkdirSync(folder, { recursive: true });
  const file = new LogFile(join(folder, `${stampOf(start)}_${kind}_${instanceId}.log`), limits);
  writeFileSync(join(folder, "latest.txt"), `${file.path}\n`);
  prune(folder, `_${kind}_${instanceId}.log`, limits.maxFiles);
  return file;
}

/** Keeps the files of the newest `keep` starts, rotated ones included, among those named `<stamp><ending>`. */
function prune(folder: string, ending: string, keep: number): void {
  const stampLength = "YYYYMMDD_HHMMSS".length;
  const ours = readdirSync(folder).filter((name) => {
    const rest = name.slice(stampLength + ending.length);
    return /^\d{8}_\d{6}/.test(name) && name.startsWith(ending, stampLength) && /^(\.\d+)?$/.test(rest);
  });
  const starts = [...new Set(ours.map((name) => name.slice(0, stampLength)))].sort();
  const old = new Set(starts.slice(0, -keep));
  for (const name of ours) if (old.has(name.slice(0, stampLength))) rmSync(join(folder, name));
}
