// A model's vector as a caller wants it: shortened, normalised, and written as numbers or as base64 (API.md section 9).

export type VectorForm = {
  /** Little-endian float32 in base64, instead of a list of numbers. */
  readonly base64: boolean;
  /** Components kept, from the first one. */
  readonly dimensions: number;
  /** llama-server's embd_normalize: -1 none, 0 largest is 32760, 1 sum of absolutes, 2 Euclidean, p > 2 the p-norm. */
  readonly norm: number;
};

/** The JSON of one vector. */
export function writeVector(vector: Float32Array, { base64, dimensions, norm }: VectorForm): string {
  const formed = normalise(vector.subarray(0, dimensions), norm);
  return base64 ? `"${toBase64(formed)}"` : `[${formed.join(",")}]`;
}

/** Sums in double precision, as llama.cpp's common_embd_normalize() does. A vector of zeros stays one. */
export function normalise(vector: Float32Array, norm: number): Float32Array {
  if (norm === -1) return vector;
  const length = lengthOf(vector, norm);
  const factor = Math.fround(length > 0 ? 1 / length : 0);
  return vector.map((component) => component * factor);
}

function lengthOf(vector: Float32Array, norm: number): number {
  if (norm === 0) return vector.reduce((most, component) => Math.max(most, Math.abs(component)), 0) / 32760;
  const sum = vector.reduce((total, component) => total + Math.abs(component) ** norm, 0);
  return sum ** (1 / norm);
}

function toBase64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, component] of vector.entries()) bytes.writeFloatLE(component, index * 4);
  return bytes.toString("base64");
}
