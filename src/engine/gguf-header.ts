// Reads and checks the header of one GGUF file as llama.cpp's gguf.cpp would, but with reasons a person can act on, and in
// bounded time and memory for any input. Knows no model: what metadata mean is for model-file.ts.
import type { FileCursor } from "./file-cursor.ts";
import { describeForeign } from "./foreign-file.ts";
import { type TensorType, tensorTypes, valueBytes, valueType } from "./gguf-types.ts";

/** `undefined`: present, but of a type or size nobody here asks for. */
export type MetadataValue = number | boolean | string | readonly number[] | undefined;

export type GgufHeader = {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensorCount: number;
  /** Elements of all tensors. */
  readonly parameters: number;
  /** Bytes of tensor data by type name. */
  readonly bytesByType: ReadonlyMap<string, number>;
};

// Far above every model known (a few hundred entries, a few thousand tensors, tens of megabytes of vocabulary).
const maxMetadata = 10_000;
const maxTensors = 100_000;
const maxHeaderBytes = 128 * 2 ** 20;
const maxKeyBytes = 65_535;
const maxTensorNameBytes = 63;
const maxDimensions = 4;
/** Longer strings and arrays are walked, not kept. */
const maxKeptBytes = 4096;
const defaultAlignment = 32;

/** Reads from the start of the file. @throws ModelFileError */
export function readGgufHeader(file: FileCursor): GgufHeader {
  const version = readVersion(file);
  const tensorCount = readCount(file, "tensors", maxTensors, 24);
  const metadataCount = readCount(file, "metadata entries", maxMetadata, 13);
  const metadata = new Map<string, MetadataValue>();
  for (let index = 0; index < metadataCount; index++) readEntry(file, metadata, index);
  const tensors = readTensors(file, tensorCount, alignmentOf(file, metadata));
  return { version, metadata, tensorCount, ...tensors };
}

function readVersion(file: FileCursor): number {
  if (file.sizeBytes < 4 || file.view(4, "the magic number").toString("latin1") !== "GGUF") {
    file.fail(`is not a GGUF file${describeForeign(file.peekStart())}`);
  }
  const version = file.u32("the version");
  // A big-endian 3 reads as 3 * 2^24.
  if (version !== 0 && version % 2 ** 16 === 0)
    file.fail("is a big-endian GGUF file; only little-endian ones can be loaded");
  if (version !== 2 && version !== 3) file.fail(`has GGUF version ${version}; only versions 2 and 3 can be loaded`);
  return version;
}

/** @param minBytes what the smallest one takes in the file */
function readCount(file: FileCursor, what: string, max: number, minBytes: number): number {
  const count = file.u64(`the number of ${what}`);
  if (count * minBytes > file.remainingBytes) {
    file.fail(`is truncated or damaged: it claims ${count} ${what}, which cannot fit into its ${file.sizeBytes} bytes`);
  }
  if (count > max) file.fail(`claims ${count} ${what}; more than ${max} are not read`);
  return count;
}

function readEntry(file: FileCursor, metadata: Map<string, MetadataValue>, index: number): void {
  const key = readText(file, maxKeyBytes, `the key of metadata entry ${index}`);
  if (key === "") file.fail(`is damaged: metadata entry ${index} has an empty key`);
  if (metadata.has(key)) file.fail(`is damaged: metadata key ${quote(key)} appears twice`);
  const what = `metadata entry ${quote(key)}`;
  const type = file.u32(what);
  if (key === "general.alignment" && type !== valueType.u32) file.fail("is damaged: general.alignment is not a u32");
  metadata.set(key, readValue(file, type, what));
  if (file.position > maxHeaderBytes) file.fail(`has a header of more than ${maxHeaderBytes} bytes`);
}

function readValue(file: FileCursor, type: number, what: string): MetadataValue {
  if (type === valueType.string) return readString(file, what);
  if (type === valueType.array) return readArray(file, what);
  const bytes = valueBytes[type];
  if (bytes === undefined) file.fail(`is damaged: ${what} has the unknown type ${type}`);
  return decode(type, file.view(bytes, what), 0);
}

function readString(file: FileCursor, what: string): string | undefined {
  const bytes = file.u64(what);
  if (bytes > maxKeptBytes) file.skip(bytes, what);
  else return file.view(bytes, what).toString("utf8");
}

function readArray(file: FileCursor, what: string): readonly number[] | undefined {
  const type = file.u32(what);
  const count = file.u64(what);
  if (type === valueType.string) return skipStrings(file, count, what);
  if (type === valueType.array) file.fail(`is damaged: ${what} is an array of arrays, which llama.cpp does not read`);
  const itemBytes = valueBytes[type];
  if (itemBytes === undefined) file.fail(`is damaged: ${what} is an array of the unknown type ${type}`);
  const bytes = count * itemBytes;
  if (bytes > maxKeptBytes) file.skip(bytes, what);
  else {
    const view = file.view(bytes, what);
    return Array.from({ length: count }, (_, index) => Number(decode(type, view, index * itemBytes)));
  }
}

function skipStrings(file: FileCursor, count: number, what: string): undefined {
  file.expect(count * 8, what);
  for (let index = 0; index < count; index++) {
    file.skip(file.u64(what), what);
    if (file.position > maxHeaderBytes) file.fail(`has a header of more than ${maxHeaderBytes} bytes`);
  }
}

function decode(type: number, bytes: Buffer, at: number): number | boolean {
  switch (type) {
    case 0:
      return bytes.readUInt8(at);
    case 1:
      return bytes.readInt8(at);
    case 2:
      return bytes.readUInt16LE(at);
    case 3:
      return bytes.readInt16LE(at);
    case 4:
      return bytes.readUInt32LE(at);
    case 5:
      return bytes.readInt32LE(at);
    case 6:
      return bytes.readFloatLE(at);
    case 7:
      return bytes.readUInt8(at) !== 0;
    case 10:
      return Number(bytes.readBigUInt64LE(at));
    case 11:
      return Number(bytes.readBigInt64LE(at));
    default:
      return bytes.readDoubleLE(at);
  }
}

function readText(file: FileCursor, maxBytes: number, what: string): string {
  const bytes = file.u64(what);
  file.expect(bytes, what);
  if (bytes > maxBytes) file.fail(`is damaged: ${what} has ${bytes} bytes; at most ${maxBytes} are allowed`);
  return file.view(bytes, what).toString("utf8");
}

function alignmentOf(file: FileCursor, metadata: ReadonlyMap<string, MetadataValue>): number {
  const alignment = Number(metadata.get("general.alignment") ?? defaultAlignment);
  if (!Number.isInteger(Math.log2(alignment)))
    file.fail(`is damaged: its alignment, ${alignment}, is not a power of 2`);
  return alignment;
}

type Tensor = { readonly name: string; readonly type: TensorType; readonly elements: number; readonly offset: number };

function readTensors(file: FileCursor, count: number, alignment: number) {
  const names = new Set<string>();
  const bytesByType = new Map<string, number>();
  let parameters = 0;
  let nextOffset = 0;
  let dataBytes = 0;
  for (let index = 0; index < count; index++) {
    const { name, type, elements, offset } = readTensor(file, index);
    if (names.has(name)) file.fail(`is damaged: tensor ${quote(name)} appears twice`);
    names.add(name);
    if (offset !== nextOffset) {
      file.fail(`is damaged: tensor ${quote(name)} begins at byte ${offset} of the data, expected ${nextOffset}`);
    }
    const bytes = (elements / type.blockElements) * type.blockBytes;
    dataBytes = offset + bytes;
    nextOffset = pad(dataBytes, alignment);
    if (nextOffset > Number.MAX_SAFE_INTEGER) file.fail(`is damaged: tensor ${quote(name)} is larger than any file`);
    parameters += elements;
    bytesByType.set(type.name, (bytesByType.get(type.name) ?? 0) + bytes);
  }
  const expectedBytes = count === 0 ? file.position : pad(file.position, alignment) + dataBytes;
  if (expectedBytes > file.sizeBytes) {
    file.fail(`is truncated: its tensors need ${expectedBytes} bytes, the file has ${file.sizeBytes} bytes`);
  }
  return { parameters, bytesByType };
}

function readTensor(file: FileCursor, index: number): Tensor {
  const name = readText(file, maxTensorNameBytes, `the name of tensor ${index}`);
  const what = `tensor ${quote(name)}`;
  const dimensions = file.u32(what);
  if (dimensions > maxDimensions) file.fail(`is damaged: ${what} has ${dimensions} dimensions; at most 4 are allowed`);
  const shape = Array.from({ length: dimensions }, () => file.u64(what));
  const typeNumber = file.u32(what);
  const type = tensorTypes[typeNumber];
  if (!type) file.fail(`is damaged or newer than this program: ${what} has the unknown type ${typeNumber}`);
  if ((shape[0] ?? 1) % type.blockElements !== 0) {
    file.fail(
      `is damaged: rows of ${what} have ${shape[0]} elements, no multiple of ${type.blockElements} (${type.name})`,
    );
  }
  return { name, type, elements: shape.reduce((product, length) => product * length, 1), offset: file.u64(what) };
}

const pad = (bytes: number, alignment: number): number => Math.ceil(bytes / alignment) * alignment;

const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
