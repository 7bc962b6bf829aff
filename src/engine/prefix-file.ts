// The file in which prompt beginnings outlive the process: who can use it, then entries, each with a checksum over both. Reads and
// writes in slices, so that the main thread is never held for long. Trusts nothing it reads: a file that is cut, changed or foreign
// yields fewer entries, never an error.
//
//   "llamagguf-prefix" | u32 version | u32 length, identity as JSON |
//   per entry: u32 length, header as JSON | tokens, int32 each | state | states of checkpoints | SHA-256 of identity and entry
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { z } from "zod";

export type SavedState = { readonly length: number; readonly state: Uint8Array };

export type SavedPrefix = {
  /** Who may reuse it. */
  readonly scope: string;
  readonly tokens: Int32Array;
  /** Of a sequence that holds these tokens. */
  readonly state: Uint8Array;
  readonly checkpoints: readonly SavedState[];
};

const magic = Buffer.from("llamagguf-prefix");
const version = 1;
const sliceBytes = 4 * 2 ** 20;
const mostHeaderBytes = 2 ** 20;
const digestBytes = 32;

const count = z.int().min(0);
const headerSchema = z.strictObject({
  scope: z.string(),
  tokens: count.min(1),
  stateBytes: count,
  checkpoints: z.array(z.strictObject({ length: count.min(1), stateBytes: count })),
});

/** Writes beside `path` and takes its place in finish(): readers see the old file or the new one. Only the owner can read it. */
export class PrefixFileWriter {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #head: Buffer;
  /** Behind the last complete entry. */
  #end = 0;

  private constructor(path: string, file: FileHandle, head: Buffer) {
    this.#path = path;
    this.#file = file;
    this.#head = head;
  }

  /** @throws what the file system throws */
  static async create(path: string, identity: object): Promise<PrefixFileWriter> {
    // One name for all: what a killed process left is replaced. Two writers at once spoil each other's entries, not more.
    await rm(unfinished(path), { force: true });
    const file = await open(unfinished(path), "wx", 0o600);
    const head = Buffer.concat([magic, uint32(version), sized(Buffer.from(JSON.stringify(identity)))]);
    const writer = new PrefixFileWriter(path, file, head);
    await file.write(head, 0, head.length, 0);
    writer.#end = head.length;
    return writer;
  }

  /** @returns false when `late()` said so before it was written; it is left out then */
  async add(prefix: SavedPrefix, late: () => boolean): Promise<boolean> {
    const { scope, tokens, state, checkpoints } = prefix;
    const described = checkpoints.map(({ length, state: { byteLength: stateBytes } }) => ({ length, stateBytes }));
    const header = { scope, tokens: tokens.length, stateBytes: state.byteLength, checkpoints: described };
    const hash = createHash("sha256").update(this.#head);
    const states = [state, ...checkpoints.map((checkpoint) => checkpoint.state)];
    let at = this.#end;
    for (const part of [sized(Buffer.from(JSON.stringify(header))), int32Bytes(tokens), ...states]) {
      for (let from = 0; from < part.byteLength; from += sliceBytes) {
        if (late()) return false;
        const slice = part.subarray(from, from + sliceBytes);
        hash.update(slice);
        await this.#file.write(slice, 0, slice.byteLength, at);
        at += slice.byteLength;
      }
    }
    await this.#file.write(hash.digest(), 0, digestBytes, at);
    this.#end = at + digestBytes;
    return true;
  }

  async finish(): Promise<void> {
    await this.#file.truncate(this.#end);
    await this.#file.sync();
    await this.#file.close();
    await rename(unfinished(this.#path), this.#path);
  }

  async abandon(): Promise<void> {
    await this.#file.close();
    await rm(unfinished(this.#path), { force: true });
  }
}

export class PrefixFileReader {
  readonly #file: FileHandle;
  readonly #size: number;
  #at = 0;
  #head: Buffer = Buffer.alloc(0);

  private constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** @throws what the file system throws, ENOENT included */
  static async open(path: string): Promise<PrefixFileReader> {
    const file = await open(path, "r");
    try {
      return new PrefixFileReader(file, (await file.stat()).size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** As it was written; undefined when this is no such file. Called once, first. */
  async identity(): Promise<unknown> {
    const start = await this.#read(magic.length + 8);
    if (!start || !magic.equals(start.subarray(0, magic.length))) return undefined;
    if (start.readUInt32LE(magic.length) !== version) return undefined;
    const text = await this.#read(start.readUInt32LE(magic.length + 4), mostHeaderBytes);
    if (!text) return undefined;
    this.#head = Buffer.concat([start, text]);
    return parseJson(text);
  }

  /** @returns undefined at the end; "damaged": nothing more can be read */
  async next(): Promise<SavedPrefix | "damaged" | undefined> {
    if (this.#at === this.#size) return undefined;
    const hash = createHash("sha256").update(this.#head);
    const length = await this.#read(4, 4, hash);
    const text = length && (await this.#read(length.readUInt32LE(), mostHeaderBytes, hash));
    const header = headerSchema.safeParse(text && parseJson(text));
    if (!header.success) return "damaged";
    const { scope, tokens, stateBytes, checkpoints } = header.data;
    const tokenBytes = await this.#read(tokens * 4, this.#size, hash);
    const state = tokenBytes && (await this.#read(stateBytes, this.#size, hash));
    if (!state) return "damaged";
    const states: SavedState[] = [];
    for (const checkpoint of checkpoints) {
      const bytes = await this.#read(checkpoint.stateBytes, this.#size, hash);
      if (!bytes) return "damaged";
      states.push({ length: checkpoint.length, state: bytes });
    }
    const digest = await this.#read(digestBytes);
    if (!digest?.equals(hash.digest())) return "damaged";
    return { scope, tokens: new Int32Array(new Uint8Array(tokenBytes).buffer), state, checkpoints: states };
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** @returns undefined when there is less, or more than `most` is asked for */
  async #read(bytes: number, most = bytes, hash?: Hash): Promise<Buffer | undefined> {
    if (bytes > most || bytes > this.#size - this.#at) return undefined;
    const buffer = Buffer.allocUnsafeSlow(bytes);
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await this.#file.read(buffer, done, Math.min(sliceBytes, bytes - done), this.#at);
      if (bytesRead === 0) return undefined; // shorter than it was
      hash?.update(buffer.subarray(done, done + bytesRead));
      done += bytesRead;
      this.#at += bytesRead;
    }
    return buffer;
  }
}

const unfinished = (path: string) => `${path}.part`;

const int32Bytes = (values: Int32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

const sized = (bytes: Buffer) => Buffer.concat([uint32(bytes.length), bytes]);

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function parseJson(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    return undefined; // no JSON is as good as another file
  }
}
