// Reads a little-endian file forward through one small buffer. Every length is compared with what is left of the file before
// anything is read or skipped, so no number in a damaged file costs memory or time.
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** A model file that cannot be served. The message names the file and what is wrong with it; the program exits with code 2. */
export class ModelFileError extends Error {
  readonly exitCode = 2;

  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "ModelFileError";
  }
}

const bufferBytes = 256 * 1024;

export class FileCursor {
  readonly path: string;
  readonly sizeBytes: number;
  /** Modification time, milliseconds since 1970. */
  readonly modifiedMs: number;
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(bufferBytes);
  /** Position in the file of the buffer's first byte, how much of the buffer is filled, and where in it the next byte is. */
  #start = 0;
  #filled = 0;
  #at = 0;

  /** @throws ModelFileError when there is no regular, readable file */
  constructor(path: string) {
    this.path = path;
    try {
      // Without O_NONBLOCK, opening a named pipe would wait for a writer.
      this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw new ModelFileError(`${path}: cannot be opened (${(error as NodeJS.ErrnoException).code})`, error);
    }
    const stats = fstatSync(this.#fd);
    this.sizeBytes = stats.size;
    this.modifiedMs = stats.mtimeMs;
    if (!stats.isFile()) {
      this.close();
      this.fail(stats.isDirectory() ? "is a folder, not a file" : "is not a regular file");
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  fail(reason: string): never {
    throw new ModelFileError(`${this.path}: ${reason}`);
  }

  get position(): number {
    return this.#start + this.#at;
  }
  get remainingBytes(): number {
    return this.sizeBytes - this.position;
  }

  /** Fails unless the file goes on for this many bytes. @param what completes "its header is cut off in …" */
  expect(bytes: number, what: string): void {
    if (bytes <= this.remainingBytes) return;
    this.fail(
      `is truncated or damaged: its header is cut off in ${what}, which needs ${bytes} bytes at byte ${this.position}; ` +
        `the file has ${this.sizeBytes} bytes`,
    );
  }

  u32(what: string): number {
    return this.#buffer.readUInt32LE(this.#take(4, what));
  }

  /** Exact up to 2^53; what is larger stays larger than any file. */
  u64(what: string): number {
    const at = this.#take(8, what);
    return this.#buffer.readUInt32LE(at) + this.#buffer.readUInt32LE(at + 4) * 2 ** 32;
  }

  /** @param bytes at most 64 KiB @returns a view that the next read overwrites */
  view(bytes: number, what: string): Buffer {
    const at = this.#take(bytes, what);
    return this.#buffer.subarray(at, at + bytes);
  }

  /** A copy of the file's first bytes, at most 512; the position stays. */
  peekStart(): Buffer {
    const bytes = Buffer.alloc(Math.min(512, this.sizeBytes));
    return bytes.subarray(0, this.#read(bytes, 0, 0));
  }

  skip(bytes: number, what: string): void {
    this.expect(bytes, what);
    this.#at += bytes;
    if (this.#at <= this.#filled) return;
    this.#start += this.#at;
    this.#at = 0;
    this.#filled = 0;
  }

  /** @returns where in the buffer the next bytes are */
  #take(bytes: number, what: string): number {
    if (this.#at + bytes > this.#filled) this.#refill(bytes, what);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  #refill(bytes: number, what: string): void {
    this.expect(bytes, what);
    this.#start = this.position;
    this.#at = 0;
    this.#filled = 0;
    while (this.#filled < bytes) {
      const read = this.#read(this.#buffer, this.#filled, this.#start + this.#filled);
      if (read === 0) this.fail("became shorter while it was read");
      this.#filled += read;
    }
  }

  #read(into: Buffer, at: number, position: number): number {
    try {
      return readSync(this.#fd, into, at, into.length - at, position);
    } catch (error) {
      throw new ModelFileError(`${this.path}: cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
    }
  }
}
