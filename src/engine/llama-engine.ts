// The engine over llama.cpp: loads backend, model, addon and context in that order, and frees them in the reverse one.
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Llama, LlamaModel } from "node-llama-cpp";
import type { Config } from "../config.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import { type Addon, loadAddon, type NativeContext, type NativeContextOptions, type NativeModel } from "./addon.ts";
import { loadBackend, loadModel } from "./backend.ts";
import { renderChat } from "./chat.ts";
import type {
  ChatPrompt,
  Engine,
  GenerationEvent,
  GenerationRequest,
  ModelInfo,
  RenderedPrompt,
  SlotInfo,
} from "./engine.ts";
import { Scheduler } from "./scheduler.ts";
import { TokenPieces } from "./text-stream.ts";

export type LlamaEngineOptions = {
  readonly config: Config;
  /** The model file, already checked (model-file.ts). */
  readonly modelPath: string;
  readonly log: Logger;
  readonly heartbeat: Heartbeat;
  /** Aborted: loading is abandoned and its reason thrown. */
  readonly signal: AbortSignal;
  /** 0 to 1, while the weights load. */
  readonly onProgress?: (fraction: number) => void;
  /** Steps keep failing: the engine is not coming back. */
  readonly onLost?: (error: Error) => void;
};

/** Tokens a request may use when neither CTX nor the model says less. */
const defaultContextTokens = 16384;

/** Widest gap of idle sequences worth filling: on the CPU one more pass costs about three more tokens in a pass. */
const gap = { cpu: 3, gpu: 32 };

/** @throws Error that says what failed: backend, model, addon or context. Nothing stays allocated then. */
export async function loadLlamaEngine(options: LlamaEngineOptions): Promise<Engine> {
  const llama = await loadBackend(options.config, options.log);
  try {
    options.signal.throwIfAborted();
    const { signal, onProgress = () => {} } = options;
    const model = await loadModel(llama, options.config, { path: options.modelPath, signal, onProgress });
    const engine = await createEngine(options, llama, model);
    await warmUp(engine, options.signal);
    return engine;
  } catch (error) {
    await llama.dispose();
    throw error;
  }
}

async function createEngine(options: LlamaEngineOptions, llama: Llama, model: LlamaModel): Promise<LlamaEngine> {
  const addon = loadAddon();
  const native = new addon.Model((model as unknown as { _model: unknown })._model);
  const { trainContextTokens, hasDecoder } = native.describe();
  if (!hasDecoder)
    throw new Error("The model cannot generate text (it has no decoder); MODEL_PATH needs a text model.");
  loadTemplates(native, options);
  const contextTokens = options.config.ctx ?? Math.min(defaultContextTokens, trainContextTokens);
  if (contextTokens > trainContextTokens) {
    options.log.warn(
      { CTX: contextTokens, trainContextTokens },
      "CTX is larger than the context the model was trained with",
    );
  }
  const context = await addon.createContext(native, contextOptions(options.config, llama, contextTokens));
  options.log.info(
    { ...context.memory(), contextTokens, sequences: options.config.maxConcurrentRequests },
    "context created",
  );
  return new LlamaEngine({ options, llama, model, addon, native, context, contextTokens });
}

function loadTemplates(native: NativeModel, { config, log }: LlamaEngineOptions): void {
  const file = config.chatTemplateFile;
  try {
    const { explicit } = native.loadChatTemplates(file === undefined ? "" : readFileSync(file, "utf8"));
    if (!explicit) log.warn("the model file has no chat template: ChatML is used");
  } catch (cause) {
    const whose = file === undefined ? "the model file's chat template" : `CHAT_TEMPLATE_FILE (${file})`;
    throw new Error(`${whose} is not a template that llama.cpp can parse`, { cause });
  }
}

function contextOptions(config: Config, llama: Llama, contextTokens: number): NativeContextOptions {
  return {
    contextTokens: contextTokens * config.maxConcurrentRequests,
    batchTokens: Math.max(config.batch, config.maxConcurrentRequests),
    microBatchTokens: config.ubatch,
    sequences: config.maxConcurrentRequests,
    threads: config.threads || llama.cpuMathCores,
    flashAttention: config.flashAttn,
    keyType: config.kvTypeK,
    valueType: config.kvTypeV,
    unified: config.kvLayout === "unified",
  };
}

/** One prefill and one decode step: the first real request must not pay for lazily built kernels and buffers. */
async function warmUp(engine: Engine, signal: AbortSignal): Promise<void> {
  const sampling = { temperature: 0, topP: 1, topK: 40, minP: 0, seed: 0, repeatPenalty: 1, repeatLastN: 0 };
  const request: GenerationRequest = {
    prompt: Int32Array.of(0, 0),
    maxTokens: 2,
    stop: [],
    sampling: { ...sampling, frequencyPenalty: 0, presencePenalty: 0, logitBias: [] },
    cacheScope: "",
    signal,
  };
  for await (const event of engine.generate(request)) if (event.type === "finish") return;
}

type Loaded = {
  readonly options: LlamaEngineOptions;
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly addon: Addon;
  readonly native: NativeModel;
  readonly context: NativeContext;
  readonly contextTokens: number;
};

class LlamaEngine implements Engine {
  readonly model: ModelInfo;
  readonly maxConcurrentRequests: number;
  readonly #loaded: Loaded;
  readonly #scheduler: Scheduler;
  /** Tokenising and rendering on pool threads: they read the model, so it must outlive them. */
  readonly #readers = new Set<Promise<unknown>>();
  #disposal: Promise<void> | undefined;

  constructor(loaded: Loaded) {
    const { options, native, context, contextTokens } = loaded;
    this.#loaded = loaded;
    this.maxConcurrentRequests = options.config.maxConcurrentRequests;
    this.model = describeModel(loaded);
    this.#scheduler = new Scheduler({
      context,
      sequences: this.maxConcurrentRequests,
      contextTokens,
      vocabulary: {
        pieces: new TokenPieces(native.pieces(false)),
        specialPieces: new TokenPieces(native.pieces(true)),
        endTokens: new Set(native.endOfGenerationTokens()),
      },
      itlTargetMs: options.config.itlTargetMs,
      prefixCache: options.config.prefixCache && native.describe().dropsTail,
      gap: fillableGap(loaded),
      heartbeat: options.heartbeat,
      log: options.log,
      onLost: options.onLost ?? (() => {}),
    });
  }

  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array> {
    return this.#reading(this.#loaded.native.tokenize(text, addSpecial, parseSpecial));
  }

  renderChat(prompt: ChatPrompt): Promise<RenderedPrompt> {
    return this.#reading(renderChat(this.#loaded.addon, this.#loaded.native, prompt));
  }

  generate(request: GenerationRequest): AsyncIterable<GenerationEvent> {
    const shared = this.#loaded.options.config.prefixCacheScope === "shared";
    return this.#scheduler.submit(shared ? { ...request, cacheScope: "" } : request);
  }

  refuseWaiting(reason: Error): void {
    this.#scheduler.refuseWaiting(reason);
  }

  slots(): SlotInfo[] {
    return this.#scheduler.slots();
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    await this.#scheduler.dispose();
    await Promise.allSettled(this.#readers);
    this.#loaded.context.dispose();
    await this.#loaded.model.dispose();
    await this.#loaded.llama.dispose();
  }

  #reading<T>(work: Promise<T>): Promise<T> {
    this.#readers.add(work);
    const done = () => this.#readers.delete(work);
    work.then(done, done);
    return work;
  }
}

/** A unified cache has no gaps; a memory that cannot drop its tail could not lose the throwaway token again. */
function fillableGap({ options, llama, native }: Loaded): number {
  if (options.config.kvLayout === "unified" || !native.describe().dropsTail) return 0;
  return llama.gpu === false ? gap.cpu : gap.gpu;
}

function describeModel({ options, addon, native, contextTokens }: Loaded): ModelInfo {
  const { vocabType, vocabSize, trainContextTokens, embeddingLength, parameters, sizeBytes, ftype } = native.describe();
  const file = statSync(options.modelPath);
  const build = [addon.llamaCppTag, addon.nodeLlamaCppVersion, file.size, file.mtimeMs].join(" ");
  return {
    name: options.config.modelAlias,
    created: Math.floor(file.mtimeMs / 1000),
    buildId: `b${createHash("sha256").update(build).digest("hex").slice(0, 12)}`,
    contextTokens,
    trainContextTokens,
    vocabType,
    vocabSize,
    embeddingLength,
    parameters,
    sizeBytes,
    ftype,
  };
}
