// node-llama-cpp's own generation loop, the yardstick of `bench engine`. It is here because only engine/ knows node-llama-cpp;
// no request is ever served by it.
import {
  getLlama,
  type Llama,
  type LlamaContext,
  type LlamaContextSequence,
  LlamaLogLevel,
  type Token,
} from "node-llama-cpp";

export type PeerOptions = {
  readonly modelPath: string;
  /** Requests decoded together; the most that may run at once. */
  readonly sequences: number;
  /** Positions of one sequence. */
  readonly contextTokens: number;
  readonly batchTokens: number;
  readonly threads: number;
  readonly gpu: "auto" | "cuda" | "vulkan" | "cpu";
};

export class PeerLoop {
  readonly endTokens: readonly number[];
  readonly vocabularySize: number;
  readonly #llama: Llama;
  readonly #free: LlamaContextSequence[];

  constructor(llama: Llama, context: LlamaContext, sequences: number) {
    this.#llama = llama;
    this.#free = Array.from({ length: sequences }, () => context.getSequence());
    const vocabulary = [...context.model.iterateAllTokens()];
    this.vocabularySize = vocabulary.length;
    this.endTokens = vocabulary.filter((token) => context.model.isEogToken(token));
  }

  /** @throws Error when the backend, the model or the context cannot be had; nothing stays allocated then */
  static async open(options: PeerOptions): Promise<PeerLoop> {
    const gpu = options.gpu === "cpu" ? false : options.gpu;
    // maxThreads 0: the context gets exactly the threads it asks for.
    const common = { build: "never", skipDownload: true, progressLogs: false, maxThreads: 0 } as const;
    const llama = await getLlama({ ...common, gpu, logLevel: LlamaLogLevel.error });
    try {
      const model = await llama.loadModel({ modelPath: options.modelPath, gpuLayers: gpu === false ? 0 : "max" });
      const context = await model.createContext({
        sequences: options.sequences,
        contextSize: options.contextTokens,
        batchSize: options.batchTokens,
        threads: options.threads,
      });
      return new PeerLoop(llama, context, options.sequences);
    } catch (error) {
      await llama.dispose();
      throw error;
    }
  }

  /**
   * Greedy tokens after a prompt, past end tokens too.
   * @returns how many were produced, `maxTokens` unless the context is full
   */
  async generate(prompt: Int32Array, maxTokens: number): Promise<number> {
    const sequence = this.#free.pop();
    if (!sequence) throw new Error("more requests at once than this loop was opened for");
    await sequence.clearHistory();
    let produced = 0;
    const options = { temperature: 0, yieldEogToken: true };
    for await (const _token of sequence.evaluate(Array.from(prompt) as Token[], options)) {
      produced += 1;
      if (produced === maxTokens) break;
    }
    this.#free.push(sequence);
    return produced;
  }

  dispose(): Promise<void> {
    return this.#llama.dispose();
  }
}
