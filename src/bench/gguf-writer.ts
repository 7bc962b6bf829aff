// Writes a GGUF file (version 3, little-endian) front to back: header, metadata, tensor table, tensor data. Never holds a whole tensor.
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export type Metadata =
  | { readonly type: "uint32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "int32s"; readonly value: readonly number[] };

export type Tensor = {
  readonly name: string;
  /** Innermost dimension first, as GGUF stores them; for Q8_0 a multiple of 32. */
  readonly dimensions: readonly number[];
  readonly type: "F32" | "F16" | "Q8_0";
  /** The data in order, in chunks of any size, byteLength(tensor) in all. */
  readonly chunks: () => Iterable<Buffer>;
};

export type GgufFile = { readonly metadata: Readonly<Record<string, Metadata>>; readonly tensors: readonly Tensor[] };

const alignment = 32;
const tensorTypes = { F32: 0, F16: 1, Q8_0: 8 };
const bytesOfValues = { F32: 4, F16: 2 };
const metadataTypes = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 };

/** Values of a Q8_0 block, and its size: a 16-bit scale and one byte per value. */
export const blockValues = 32;
export const blockBytes = 2 + blockValues;

export function byteLength({ dimensions, type }: Pick<Tensor, "dimensions" | "type">): number {
  const values = dimensions.reduce((product, size) => product * size, 1);
  return type === "Q8_0" ? (values / blockValues) * blockBytes : values * bytesOfValues[type];
}

/** Writes beside `path` and renames at the end, so the file is either whole or absent. */
export async function writeGguf(path: string, file: GgufFile): Promise<void> {
  const unfinished = `${path}.${randomUUID()}.part`;
  try {
    await pipeline(Readable.from(encode(file)), createWriteStream(unfinished, { flags: "wx" }));
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

function* encode({ metadata, tensors }: GgufFile): Generator<Buffer> {
  const entries = Object.entries(metadata);
  const head = [Buffer.from("GGUF"), uint32(3), uint64(tensors.length), uint64(entries.length)];
  for (const [key, entry] of entries) head.push(string(key), encodeMetadata(entry));
  let offset = 0;
  for (const tensor of tensors) {
    head.push(string(tensor.name), uint32(tensor.dimensions.length), ...tensor.dimensions.map(uint64));
    head.push(uint32(tensorTypes[tensor.type]), uint64(offset));
    offset = aligned(offset + byteLength(tensor));
  }
  const start = Buffer.concat(head);
  yield padded(start, start.length);
  for (const tensor of tensors) {
    yield* tensor.chunks();
    yield padded(Buffer.alloc(0), byteLength(tensor));
  }
}

function encodeMetadata(entry: Metadata): Buffer {
  switch (entry.type) {
    case "uint32":
      return Buffer.concat([uint32(metadataTypes.uint32), uint32(entry.value)]);
    case "float32":
      return Buffer.concat([uint32(metadataTypes.float32), float32(entry.value)]);
    case "bool":
      return Buffer.concat([uint32(metadataTypes.bool), Buffer.of(entry.value ? 1 : 0)]);
    case "string":
      return Buffer.concat([uint32(metadataTypes.string), string(entry.value)]);
    case "strings":
      return Buffer.concat([...arrayHead(metadataTypes.string, entry.value.length), ...entry.value.map(string)]);
    case "int32s":
      return Buffer.concat([...arrayHead(metadataTypes.int32, entry.value.length), ...entry.value.map(uint32)]);
  }
}

function arrayHead(elementType: number, length: number): Buffer[] {
  return [uint32(metadataTypes.array), uint32(elementType), uint64(length)];
}

const aligned = (offset: number) => Math.ceil(offset / alignment) * alignment;

/** `data`, then zeros up to the next aligned offset after `length` bytes. */
const padded = (data: Buffer, length: number) => Buffer.concat([data, Buffer.alloc(aligned(length) - length)]);

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

/** Also writes non-negative int32 values: the bytes are the same. */
function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}
