// Our engine as `bench engine` drives it: fixed numbers of greedy tokens after prompts of token ids, no HTTP, no keys.
import { loadConfig } from "../config.ts";
import type { Engine, GenerationRequest } from "../engine/engine.ts";
import { loadLlamaEngine } from "../engine/llama-engine.ts";
import type { PeerOptions } from "../engine/peer-loop.ts";
import { Heartbeat } from "../health/heartbeat.ts";
import { silentLog } from "../telemetry/log.ts";

const greedy = {
  temperature: 0,
  topP: 1,
  topK: 40,
  minP: 0,
  seed: 0,
  repeatPenalty: 1,
  repeatLastN: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
};

export class OurLoop {
  readonly vocabularySize: number;
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.vocabularySize = engine.model.vocabSize;
  }

  /** @throws Error or ConfigError when the engine cannot be loaded with these options */
  static async open(options: PeerOptions): Promise<OurLoop> {
    const { config } = loadConfig({
      MODEL_PATH: options.modelPath,
      MAX_CONCURRENT_REQUESTS: String(options.sequences),
      CTX: String(options.contextTokens),
      BATCH: String(options.batchTokens),
      THREADS: String(options.threads),
      GPU: options.gpu,
      PREFIX_CACHE: "false",
    });
    const engine = await loadLlamaEngine({
      config,
      modelPath: options.modelPath,
      log: silentLog(),
      heartbeat: new Heartbeat(),
      signal: new AbortController().signal,
    });
    return new OurLoop(engine);
  }

  /**
   * Greedy tokens after a prompt.
   * @param never tokens that are never chosen: the model's end tokens, or none when it does not choose them anyway
   * @returns how many were produced
   */
  async generate(prompt: Int32Array, maxTokens: number, never: readonly number[] = []): Promise<number> {
    const logitBias = never.map((token) => [token, Number.NEGATIVE_INFINITY] as const);
    const sampling = { ...greedy, logitBias };
    const { signal } = new AbortController();
    const request: GenerationRequest = { prompt, maxTokens, stop: [], sampling, cacheScope: "", signal };
    for await (const event of this.#engine.generate(request)) {
      if (event.type === "finish") return event.usage.completionTokens;
    }
    throw new Error("the engine ended an answer without a finish event");
  }

  dispose(): Promise<void> {
    return this.#engine.dispose();
  }
}
