// Vectors and scores for MOCK_BACKEND: no model, but equal for equal inputs and different for most others.
import type { OnTokens } from "./embedding.ts";
import type { Embedder, ModelInfo, Reranker, VectorModelInfo } from "./engine.ts";

const width = 8;

export type MockVectorsOptions = {
  readonly model: ModelInfo;
  readonly tokenize: (text: string, addSpecial: boolean) => Promise<Int32Array>;
  /** Awaited before every answer. */
  readonly before?: (() => Promise<unknown>) | undefined;
};

export class MockVectors implements Embedder, Reranker {
  readonly model: VectorModelInfo;
  readonly probabilities = false;
  readonly #options: MockVectorsOptions;

  constructor(options: MockVectorsOptions) {
    this.#options = options;
    this.model = { ...options.model, embeddingLength: width };
  }

  tokenize(text: string, addSpecial: boolean): Promise<Int32Array> {
    return this.#options.tokenize(text, addSpecial);
  }

  async tokenizePairs(query: string, documents: readonly string[]): Promise<Int32Array[]> {
    return Promise.all(documents.map((document) => this.tokenize(`${query}\n${document}`, true)));
  }

  async embed(inputs: readonly Int32Array[], signal: AbortSignal, onTokens?: OnTokens): Promise<Float32Array[]> {
    for (const { length } of inputs) onTokens?.(length);
    await this.#wait(signal);
    return inputs.map(vectorOf);
  }

  /** The longer the document, the better. */
  async rank(pairs: readonly Int32Array[], signal: AbortSignal, onTokens?: OnTokens): Promise<number[]> {
    for (const { length } of pairs) onTokens?.(length);
    await this.#wait(signal);
    return pairs.map(({ length }) => length / 10 - 2);
  }

  async #wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { before } = this.#options;
    if (!before) return;
    await new Promise<unknown>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      before().then(resolve, reject);
    });
  }
}

function vectorOf(tokens: Int32Array): Float32Array {
  const vector = new Float32Array(width);
  for (const [place, token] of tokens.entries()) vector[place % width]! += token / 256;
  return vector;
}
