// Writes GGUF files for tests, right or wrong in chosen places: numbers that contradict the content can be given explicitly.

export type Value =
  | { type: "u32"; value: number }
  | { type: "string"; value: string }
  | { type: "strings"; value: readonly string[]; count?: bigint }
  | { type: "u32s"; value: readonly number[]; count?: bigint }
  | { type: "raw"; number: number; bytes: Buffer };

export type Tensor = {
  readonly name: string;
  readonly shape: readonly number[];
  /** ggml_type; 0 is F32. */
  readonly type?: number;
  readonly offset?: number;
};

export type Gguf = {
  readonly magic?: string;
  readonly version?: number;
  readonly metadataCount?: bigint;
  readonly tensorCount?: bigint;
  readonly metadata?: Readonly<Record<string, Value>> | ReadonlyArray<readonly [string, Value]>;
  readonly tensors?: readonly Tensor[];
  /** Bytes of tensor data after the header. */
  readonly dataBytes?: number;
};

export const text = (value: string): Value => ({ type: "string", value });
export const u32 = (value: number): Value => ({ type: "u32", value });

/** A model of one 8 x 4 F32 tensor, 128 bytes of data, with the metadata every model has. */
export const tinyModel: Gguf = {
  metadata: { "general.architecture": text("llama"), "llama.context_length": u32(64) },
  tensors: [{ name: "w", shape: [8, 4] }],
  dataBytes: 128,
};

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
const string = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

function valueBytes(value: Value): Buffer {
  switch (value.type) {
    case "u32":
      return Buffer.concat([word(4), word(value.value)]);
    case "string":
      return Buffer.concat([word(8), string(value.value)]);
    case "strings":
      return Buffer.concat([word(9), word(8), u64(value.count ?? value.value.length), ...value.value.map(string)]);
    case "u32s":
      return Buffer.concat([word(9), word(4), u64(value.count ?? value.value.length), ...value.value.map(word)]);
    case "raw":
      return Buffer.concat([word(value.number), value.bytes]);
  }
}

function tensorBytes({ name, shape, type = 0, offset = 0 }: Tensor): Buffer {
  return Buffer.concat([string(name), word(shape.length), ...shape.map(u64), word(type), u64(offset)]);
}

export function writeGguf(gguf: Gguf): Buffer {
  const { magic = "GGUF", version = 3, tensors = [], dataBytes = 0 } = gguf;
  const metadata = Array.isArray(gguf.metadata) ? gguf.metadata : Object.entries(gguf.metadata ?? {});
  const header = Buffer.concat([
    Buffer.from(magic, "latin1"),
    word(version),
    u64(gguf.tensorCount ?? tensors.length),
    u64(gguf.metadataCount ?? metadata.length),
    ...metadata.map(([key, value]) => Buffer.concat([string(key), valueBytes(value)])),
    ...tensors.map(tensorBytes),
  ]);
  const padding = dataBytes > 0 ? (32 - (header.length % 32)) % 32 : 0;
  return Buffer.concat([header, Buffer.alloc(padding + dataBytes)]);
}
