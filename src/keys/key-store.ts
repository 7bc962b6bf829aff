// The key file on disk: reads it, and makes it at the first start. What its lines mean is key-file.ts's business.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";

export type ReadKeys = { readonly text: string; readonly readableByOthers: boolean };

/** @returns undefined when there is no such file @throws Error when it cannot be read, or is no regular file */
export function readKeyFile(path: string): ReadKeys | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) return undefined;
  // Opening a pipe would wait for its writer, for ever if need be.
  if (!stats.isFile()) throw new Error("not a regular file");
  return { text: readFileSync(path, "utf8"), readableByOthers: (stats.mode & constants.S_IROTH) !== 0 };
}

/** 256 random bits, in the form that clients know keys by. */
export function generateKey(): string {
  return `sk-${randomBytes(32).toString("base64url")}`;
}

/**
 * Makes the file, mode 0600, with one random key `default`, and announces that key.
 * @throws Error when it cannot be made; a file that another process made meanwhile is read instead
 */
export function createKeyFile(path: string, announce: (text: string) => void): ReadKeys {
  const key = generateKey();
  const text = `# One key per line: key_id:api_key[:limits][:expiry]\ndefault:${key}\n`;
  try {
    writeNewFile(path, text);
  } catch (error) {
    const existing = (error as NodeJS.ErrnoException).code === "EEXIST" ? readKeyFile(path) : undefined;
    if (existing) return existing;
    throw error;
  }
  announce(`\nA new API key, shown only this once (its file: ${path}):\n\n    ${key}\n\n`);
  return { text, readableByOthers: false };
}

/**
 * Makes a file that was not there, closed to others from its first moment, and brings it to disk.
 * @param like whose owner, group and mode it gets at last; a mode that lets others in becomes 0600
 * @throws the file system's error; a file that could not be finished is removed
 */
export function writeNewFile(path: string, content: string | Buffer, like?: Stats): void {
  const file = openSync(path, "wx", 0o600);
  try {
    writeFileSync(file, content);
    if (like) fchownSync(file, like.uid, like.gid);
    // The process's umask may have taken bits away.
    fchmodSync(file, like && (like.mode & 0o007) === 0 ? like.mode & 0o777 : 0o600);
    fsyncSync(file);
  } catch (error) {
    rmSync(path);
    throw error;
  } finally {
    closeSync(file);
  }
}
