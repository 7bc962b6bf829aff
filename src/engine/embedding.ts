// The seam for models that make no text: vectors of texts, and scores of pairs. Part of engine.ts, through which others see it.
import type { ModelInfo } from "./engine.ts";

/** `contextTokens` is what one input may have, `embeddingLength` how many numbers a vector has. */
export type VectorModelInfo = Pick<
  ModelInfo,
  | "name"
  | "created"
  | "contextTokens"
  | "trainContextTokens"
  | "vocabType"
  | "vocabSize"
  | "embeddingLength"
  | "parameters"
  | "sizeBytes"
  | "ftype"
>;

export type OnTokens = (tokens: number) => void;

/** Makes one vector of a text. */
export interface Embedder {
  readonly model: VectorModelInfo;
  /** As Engine.tokenize(). */
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array>;
  /**
   * One vector per input, in order, pooled as the model says and not normalised. Inputs of all calls share batches.
   * @param inputs 1 to model.contextTokens token ids inside the vocabulary each
   * @param onTokens told the tokens of each input when a batch that computes it begins
   * @throws the signal's reason, Failure generation_failed
   */
  embed(inputs: readonly Int32Array[], signal: AbortSignal, onTokens?: OnTokens): Promise<Float32Array[]>;
}

/** Says how well a document answers a query. */
export interface Reranker {
  readonly model: VectorModelInfo;
  /** The scores are probabilities already; otherwise they are logits of any size. */
  readonly probabilities: boolean;
  /** The query with each document, as the model wants a pair to be written; ends with the first that is too long for it. */
  tokenizePairs(query: string, documents: readonly string[]): Promise<Int32Array[]>;
  /** One score per pair, in order; the larger, the better. Otherwise as Embedder.embed(). */
  rank(pairs: readonly Int32Array[], signal: AbortSignal, onTokens?: OnTokens): Promise<number[]>;
}
