// Vectors as callers want them.
import test from "ava";
import { normalise, writeVector } from "../../src/openai/vectors.ts";

const vector = Float32Array.of(3, -4, 0.1);
const rounded = (values: Float32Array) => Array.from(values, (value) => Number(value.toFixed(4)));

test("the norms are llama-server's", (t) => {
  t.is(normalise(vector, -1), vector);
  t.deepEqual(rounded(normalise(Float32Array.of(3, -4), 0)), [24570, -32760]);
  t.deepEqual(rounded(normalise(Float32Array.of(3, -4), 1)), [0.4286, -0.5714]);
  t.deepEqual(rounded(normalise(Float32Array.of(3, -4), 2)), [0.6, -0.8]);
  t.deepEqual(rounded(normalise(Float32Array.of(3, -4), 3)), [0.667, -0.8893]);
});

test("a vector of zeros stays one", (t) => {
  for (const norm of [-1, 0, 1, 2, 3]) t.deepEqual(Array.from(normalise(new Float32Array(2), norm)), [0, 0]);
});

test("base64 and numbers hold the same float32 values", (t) => {
  const form = { dimensions: 3, norm: 2 };
  const numbers: number[] = JSON.parse(writeVector(vector, { ...form, base64: false }));
  const text: string = JSON.parse(writeVector(vector, { ...form, base64: true }));
  const bytes = Buffer.from(text, "base64");
  t.deepEqual(
    numbers,
    [0, 4, 8].map((offset) => bytes.readFloatLE(offset)),
  );
  t.deepEqual(numbers.map(Math.fround), numbers);
});

test("a shortened vector is normalised after it was cut", (t) => {
  t.deepEqual(
    rounded(Float32Array.from(JSON.parse(writeVector(vector, { base64: false, dimensions: 2, norm: 2 })))),
    [0.6, -0.8],
  );
  t.is(writeVector(vector, { base64: false, dimensions: 1, norm: -1 }), "[3]");
});
