// Tensors of random models: Q8_0 matrices of noise with a given deviation, and 32-bit ones made by a function.
import { blockBytes, blockValues, type Tensor } from "./gguf-writer.ts";
import type { RandomBytes } from "./random-bytes.ts";

/** Rows per chunk of tensor data. */
const chunkRows = 256;
/** Standard deviation of a byte drawn evenly from -127 to 127. */
const byteDeviation = 127 / Math.sqrt(3);

/** All values are `gain`. */
export const norm = (name: string, width: number, gain: number): Tensor =>
  floats(`${name}.weight`, [width], () => gain);

/** A 32-bit tensor by index in memory order. @param name with its suffix, which not all of these have */
export function floats(name: string, dimensions: readonly number[], value: (index: number) => number): Tensor {
  const count = dimensions.reduce((product, size) => product * size, 1);
  const chunks = () => [Buffer.from(Float32Array.from({ length: count }, (_, index) => value(index)).buffer)];
  return { name, dimensions, type: "F32", chunks };
}

/** @param zeroRows how many of the last rows are zero */
export function matrix(
  name: string,
  inputs: number,
  rows: number,
  deviation: number,
  random: RandomBytes,
  zeroRows = 0,
): Tensor {
  const scale = float16(deviation / byteDeviation);
  const rowBlocks = inputs / blockValues;
  function* chunks(): Generator<Buffer> {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const filled = Math.max(0, Math.min(count, rows - zeroRows - row));
      yield randomBlocks(count * rowBlocks, filled * rowBlocks, scale, random);
    }
  }
  return { name: `${name}.weight`, dimensions: [inputs, rows], type: "Q8_0", chunks };
}

/** Q8_0 blocks; those from `filled` on are zero. */
function randomBlocks(blocks: number, filled: number, scale: number, random: RandomBytes): Buffer {
  const data = Buffer.alloc(blocks * blockBytes);
  for (let block = 0; block < filled; block += 1) {
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
