// The shapes of random models that benchmarks and tests use, one or more for each kind of memory a model can have: keys and values
// of every token, of a sliding window, a recurrent state, or both.

type Common = {
  readonly layers: number;
  readonly embedding: number;
  readonly feedForward: number;
  /** Tokens; the embedding is also the output matrix. */
  readonly vocabulary: number;
  readonly context: number;
};

type Attention = { readonly heads: number; readonly keyValueHeads: number };

/** Of the layers that keep a state instead of keys and values; they are 2 x embedding wide inside. */
type Recurrence = {
  /** Numbers of state per channel. */
  readonly state: number;
  /** Tokens that the convolution before it sees. */
  readonly convolution: number;
  readonly timeStepRank: number;
};

export type PlainShape = Common & Attention & { readonly architecture: "llama" };
/** Every second layer sees only the last `window` tokens. */
export type WindowShape = Common & Attention & { readonly architecture: "gemma3"; readonly window: number };
export type RecurrentShape = Common & Recurrence & { readonly architecture: "mamba" };
/** Layers with a state and layers with attention take turns. */
export type HybridShape = Common & Attention & Recurrence & { readonly architecture: "jamba" };

export type Shape = PlainShape | WindowShape | RecurrentShape | HybridShape;

const tiny = { layers: 2, embedding: 64, feedForward: 128, vocabulary: 1024, context: 2048 };
const tinyAttention = { heads: 2, keyValueHeads: 1 };
const tinyRecurrence = { state: 16, convolution: 4, timeStepRank: 32 };

export const shapes = {
  /** A small chat model as people run it: 135 million weights. */
  "135m": {
    architecture: "llama",
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
    architecture: "llama",
    layers: 2,
    embedding: 256,
    heads: 4,
    keyValueHeads: 2,
    feedForward: 1024,
    vocabulary: 131072,
    context: 8192,
  },
  /** Made and loaded in milliseconds, for tests. */
  tiny: { architecture: "llama", ...tiny, ...tinyAttention },
  "tiny-window": { architecture: "gemma3", ...tiny, ...tinyAttention, window: 32 },
  "tiny-recurrent": { architecture: "mamba", ...tiny, ...tinyRecurrence },
  "tiny-hybrid": { architecture: "jamba", ...tiny, ...tinyAttention, ...tinyRecurrence },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
