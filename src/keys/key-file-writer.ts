// Changes the key file on disk: under a lock, by a temporary file that takes the file's place in one step, so that a reader sees the
// old file or the new one. Keeps owner and group; what is in the file is its caller's business.
import { createHash, randomUUID } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { withFileLock } from "./file-lock.ts";
import { writeNewFile } from "./key-store.ts";

export type WriterOptions = {
  /** Told what the operator should know though the change was made. */
  readonly warn: (text: string) => void;
  /** For tests: what puts the temporary file into its place. */
  readonly rename?: (from: string, to: string) => void;
  /** Longest wait for another writer, in milliseconds. */
  readonly waitMs?: number;
};

/**
 * Replaces the file's content by what `change` makes of it, one writer at a time.
 * @param change gets the bytes, or undefined when there is no file; what it throws leaves the file as it is
 * @returns the new bytes @throws Error when the file cannot be read or written, or others keep it locked
 */
export async function changeKeyFile(
  path: string,
  change: (bytes: Buffer | undefined) => Buffer,
  options: WriterOptions,
): Promise<Buffer> {
  const target = realPath(path);
  const work = () => {
    const old = statSync(target, { throwIfNoEntry: false });
    if (old && !old.isFile()) throw new Error(`${path} is not a regular file`);
    const bytes = change(old && readFileSync(target));
    if (old) replaceFile(target, bytes, old, options);
    else writeNewFile(target, bytes);
    syncFolder(dirname(target), options.warn);
    return bytes;
  };
  return withFileLock(lockPath(target), work, options.waitMs);
}

/** A link stays a link: what it leads to is replaced. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return resolve(path);
  }
}

/** Beside the file; where nothing can be made there, as beside a file mounted alone into a read-only root, in the temp directory. */
function lockPath(target: string): string {
  try {
    accessSync(dirname(target), constants.W_OK | constants.X_OK);
    return `${target}.lock`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new Error(`there is no folder ${dirname(target)}`);
    if (!isRefusal(error)) throw error;
    const name = createHash("sha256").update(target).digest("hex").slice(0, 16);
    return join(tmpdir(), `llama-gguf-keys-${name}.lock`);
  }
}

function replaceFile(path: string, bytes: Buffer, old: Stats, { warn, rename = renameSync }: WriterOptions): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    writeNewFile(temporary, bytes, old);
    rename(temporary, path);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    writeInPlace(path, bytes);
    const { code } = error as NodeJS.ErrnoException;
    warn(`${path} could not be replaced in one step (${code}), so it was written in place; reload only now`);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** What a file system says when a file may be written but not replaced: mounted alone, in a closed folder, or owned by another. */
function isRefusal(error: unknown): boolean {
  return ["EBUSY", "EXDEV", "EPERM", "EACCES", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function writeInPlace(path: string, bytes: Buffer): void {
  const file = openSync(path, "r+");
  try {
    writeFileSync(file, bytes);
    ftruncateSync(file, bytes.length);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The new name is on disk only once its folder is. The change itself has been made: a failure here is no reason to say otherwise. */
function syncFolder(path: string, warn: WriterOptions["warn"]): void {
  try {
    const folder = openSync(path, "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (error) {
    warn(`${path} could not be brought to disk; a power cut now may undo the change: ${(error as Error).message}`);
  }
}
