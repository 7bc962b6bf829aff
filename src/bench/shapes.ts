// The shapes of random models that benchmarks and tests use.

export type Shape = {
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly feedForward: number;
  /** Tokens; the embedding is also the output matrix. */
  readonly vocabulary: number;
  readonly context: number;
};

export const shapes = {
  /** A small chat model as people run it: 135 million weights. */
  "135m": {
    layers: 30,
    embedding: 576,
    heads: 9,
    keyValueHeads: 3,
    feedForward: 1536,
    vocabulary: 49152,
    context: 8192,
  },
  /** Little to compute but a very large vocabulary: what remains is sampling and the loop around it. */
  "2l-128k": {
    layers: 2,
    embedding: 256,
    heads: 4,
    keyValueHeads: 2,
    feedForward: 1024,
    vocabulary: 131072,
    context: 8192,
  },
  /** Made and loaded in milliseconds, for tests. */
  tiny: { layers: 2, embedding: 64, heads: 2, keyValueHeads: 1, feedForward: 128, vocabulary: 1024, context: 2048 },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
