// Tensors of random models: matrices of noise with a given deviation, in Q8_0 or F16, and 32-bit ones made by a function.
import { blockBytes, blockValues, type Tensor } from "./gguf-writer.ts";
import type { RandomBytes } from "./random-bytes.ts";

/** Rows per chunk of tensor data. */
const chunkRows = 256;
/** Standard deviation of a byte drawn evenly from -127 to 127. */
const byteDeviation = 127 / Math.sqrt(3);
/** Of a 16-bit float. */
const signBit = 0x8000;

/** All values are `gain`. */
export const norm = (name: string, width: number, gain: number): Tensor =>
  floats(`${name}.weight`, [width], () => gain);

/** A 32-bit tensor by index in memory order. @param name with its suffix, which not all of these have */
export function floats(name: string, dimensions: readonly number[], value: (index: number) => number): Tensor {
  const count = dimensions.reduce((product, size) => product * size, 1);
  const chunks = () => [Buffer.from(Float32Array.from({ length: count }, (_, index) => value(index)).buffer)];
  return { name, dimensions, type: "F32", chunks };
}

/** How the matrices' numbers are stored; the numbers themselves are the same but for their last digits. */
export type WeightType = "Q8_0" | "F16";
export const weightTypes: readonly WeightType[] = ["Q8_0", "F16"];

export type Noise = {
  readonly inputs: number;
  readonly rows: number;
  readonly deviation: number;
  readonly random: RandomBytes;
  /** How many of the last rows are zero. */
  readonly zeroRows?: number;
};

export function matrix(
  name: string,
  type: WeightType,
  { inputs, rows, deviation, random, zeroRows = 0 }: Noise,
): Tensor {
  const scale = deviation / byteDeviation;
  const make = type === "Q8_0" ? randomBlocks : randomFloats;
  function* chunks(): Generator<Buffer> {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const filled = Math.max(0, Math.min(count, rows - zeroRows - row));
      yield make(count * inputs, filled * inputs, scale, random);
    }
  }
  return { name: `${name}.weight`, dimensions: [inputs, rows], type, chunks };
}

/** F16 values; those from `filled` on are zero. */
function randomFloats(values: number, filled: number, scale: number, random: RandomBytes): Buffer {
  const bytes = Buffer.alloc(filled);
  random.fill(bytes, 0, filled);
  const bits = Uint16Array.from({ length: 128 }, (_, size) => (size === 0 ? 0 : float16(size * scale)));
  const data = Buffer.alloc(values * 2);
  for (let at = 0; at < filled; at += 1) {
    const value = bytes.readInt8(at);
    data.writeUInt16LE(bits[Math.abs(value)]! | (value < 0 ? signBit : 0), at * 2);
  }
  return data;
}

/** Q8_0 blocks; those from the value `filled` on are zero. */
function randomBlocks(values: number, filled: number, factor: number, random: RandomBytes): Buffer {
  const data = Buffer.alloc((values / blockValues) * blockBytes);
  const scale = float16(factor);
  for (let block = 0; block < filled / blockValues; block += 1) {
    const start = block * blockBytes;
    data.writeUInt16LE(scale, start);
    random.fill(data, start + 2, start + blockBytes);
  }
  return data;
}

/** Bits of the 16-bit float nearest to `value`, which must be a normal number of that type (6.1e-5 to 65504). */
export function float16(value: number): number {
  const exponent = Math.floor(Math.log2(value));
  const mantissa = Math.round((value / 2 ** exponent - 1) * 1024);
  return ((exponent + 15) << 10) + mantissa;
}
