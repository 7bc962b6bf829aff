// The engine over llama.cpp: loads backend, model, addon and context in that order, and frees them in the reverse one.

import type { Llama, LlamaModel } from "node-llama-cpp";
import { type Config, defaultCtx } from "../config.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Addon, NativeChatTemplates, NativeContext, NativeModel } from "./addon.ts";
import { gpuMemory, loadBackend, loadModel } from "./backend.ts";
import { renderChat } from "./chat.ts";
import type { GapCosts } from "./compaction.ts";
import { prepareSampler } from "./constraint.ts";
import type {
  BackendInfo,
  ChatPrompt,
  Constraint,
  DecodeWork,
  Embedder,
  Engine,
  GenerationEvent,
  GenerationRequest,
  ModelInfo,
  PreparedSampler,
  RenderedPrompt,
  Reranker,
  Sampling,
  SlotInfo,
  SpeculationInfo,
} from "./engine.ts";
import type { ContextSize } from "./fit.ts";
import type { Vocabulary } from "./generation.ts";
import { type KeptPrefixes, keptPrefixes } from "./kept-prefixes.ts";
import { contextOptions, loadTemplates } from "./llama-settings.ts";
import { loadVectorModels, noVectorModels, type VectorModelPaths, type VectorModels } from "./llama-vectors.ts";
import { loadAddon } from "./load-addon.ts";
import { createSpeculation, loadDraftFile } from "./load-speculation.ts";
import { type LoraAdapters, loadAdapters } from "./lora.ts";
import { grantContextSize } from "./memory.ts";
import { describeModel } from "./model-info.ts";
import { PendingReads } from "./pending-reads.ts";
import { createReaderEngine } from "./reader-engine.ts";
import { Scheduler } from "./scheduler.ts";
import type { Speculation } from "./speculation.ts";
import { tokenizeText } from "./text-bytes.ts";
import { TokenPieces } from "./text-stream.ts";
import { warmUp } from "./warm-up.ts";

export type LlamaEngineOptions = {
  readonly config: Config;
  /** The model file, already checked (model-file.ts). */
  readonly modelPath: string;
  /** Models for embeddings and reranking, already checked; without one the main model serves them if it can. */
  readonly vectorModels?: VectorModelPaths;
  /** Writes ahead of the main model; already checked. */
  readonly draftModelPath?: string | undefined;
  readonly log: Logger;
  readonly heartbeat: Heartbeat;
  /** Aborted: loading is abandoned and its reason thrown. */
  readonly signal: AbortSignal;
  /** 0 to 1, while the weights load. */
  readonly onProgress?: (fraction: number) => void;
  /** Steps keep failing: the engine is not coming back. */
  readonly onLost?: (error: Error) => void;
};

/** What one more pass costs, in tokens more in a pass: on the CPU about three. */
const passTokens = { cpu: 3, gpu: 32 };

/** @throws Error that says what failed: backend, model, addon or context. Nothing stays allocated then. */
export async function loadLlamaEngine(options: LlamaEngineOptions): Promise<Engine> {
  const { config, log, modelPath: path, signal, onProgress = () => {} } = options;
  const llama = await loadBackend(config, log);
  let vectors = noVectorModels;
  let engine: LlamaEngine | undefined;
  // llama.dispose() waits for ever for a model that was collected as garbage before it was disposed of.
  let model: LlamaModel | undefined;
  try {
    signal.throwIfAborted();
    model = await loadModel(llama, config, { path, signal, onProgress });
    const addon = loadAddon();
    const native = new addon.Model((model as unknown as { _model: unknown })._model);
    // Before the main model's context, which is fitted into the memory that is left.
    const adapters = await loadAdapters(native, config.loraPaths ?? [], log);
    const main = { native, path, name: config.modelAlias, loraScales: adapters.scales };
    vectors = await loadVectorModels({ ...options, llama, addon, paths: options.vectorModels ?? {}, main });
    const loaded = { options, llama, model, addon, native, adapters, vectors };
    if (!addon.describePooling(native).causal || native.describe().hasEncoder) return createReader(loaded);
    engine = await createEngine(loaded);
    await warmUp(engine, options);
    await engine.restorePrefixes();
    return engine;
  } catch (error) {
    await vectors.dispose();
    await engine?.dispose();
    await model?.dispose();
    await llama.dispose();
    throw error;
  }
}

type LoadedModel = {
  readonly options: LlamaEngineOptions;
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly addon: Addon;
  readonly native: NativeModel;
  readonly adapters: LoraAdapters;
  readonly vectors: VectorModels;
};

async function createEngine(loaded: LoadedModel): Promise<LlamaEngine> {
  const { options, llama, model, addon, native } = loaded;
  const { trainContextTokens } = native.describe();
  const templates = loadTemplates(native, options);
  const { config, log } = options;
  const asked = {
    contextTokens: config.ctx ?? Math.min(defaultCtx, trainContextTokens),
    sequences: config.maxConcurrentRequests,
  };
  if (asked.contextTokens > trainContextTokens) {
    log.warn(
      { CTX: asked.contextTokens, trainContextTokens },
      "CTX is larger than the context the model was trained with",
    );
  }
  const guessing = { ...options, llama, addon, native };
  const draft = await loadDraftFile(guessing);
  let speculation: Speculation | undefined;
  try {
    const models = [{ model }, ...(draft ? [draft] : [])];
    const size = await grantContextSize(asked, { llama, models, config, log });
    speculation = await createSpeculation(guessing, draft, size);
    const context = await addon.createContext(native, contextOptions(config, llama, size, speculation !== undefined));
    log.info({ ...context.memory(), ...size }, "context created");
    return new LlamaEngine({ ...loaded, templates, context, size, speculation });
  } catch (error) {
    await (speculation ?? draft?.model)?.dispose();
    throw error;
  }
}

function createReader({ options, ...loaded }: LoadedModel): Engine {
  const { config, modelPath: path, log } = options;
  if (config.promptLookup || options.draftModelPath !== undefined) {
    log.warn("the model writes no text: DRAFT_MODEL_PATH and PROMPT_LOOKUP have no effect");
  }
  const contextTokens = Math.min(config.ctx ?? defaultCtx, loaded.native.describe().trainContextTokens);
  const { modelAlias: name, maxConcurrentRequests } = config;
  return createReaderEngine({ ...loaded, name, path, contextTokens, maxConcurrentRequests });
}

type Loaded = LoadedModel & {
  readonly templates: NativeChatTemplates;
  readonly context: NativeContext;
  /** As granted. */
  readonly size: ContextSize;
  readonly speculation: Speculation | undefined;
};

class LlamaEngine implements Engine {
  readonly model: ModelInfo;
  readonly backend: BackendInfo;
  readonly maxConcurrentRequests: number;
  readonly embedder: Embedder | null;
  readonly reranker: Reranker | null;
  readonly #loaded: Loaded;
  readonly #vocabulary: Vocabulary;
  readonly #scheduler: Scheduler;
  readonly #reads = new PendingReads();
  readonly #kept: KeptPrefixes | undefined;
  #disposal: Promise<void> | undefined;

  constructor(loaded: Loaded) {
    const { options, native, context, size } = loaded;
    this.#loaded = loaded;
    this.maxConcurrentRequests = size.sequences;
    this.embedder = loaded.vectors.embedder;
    this.reranker = loaded.vectors.reranker;
    this.#vocabulary = {
      pieces: new TokenPieces(native.pieces(false)),
      specialPieces: new TokenPieces(native.pieces(true)),
      endTokens: new Set(native.endOfGenerationTokens()),
    };
    this.model = describeModel({
      ...loaded,
      name: options.config.modelAlias,
      path: options.modelPath,
      contextTokens: size.contextTokens,
      pieces: this.#vocabulary.specialPieces,
      loraScales: loaded.adapters.scales,
    });
    this.backend = { llamaCpp: loaded.addon.llamaCppTag, device: loaded.llama.gpu || "cpu" };
    this.#scheduler = new Scheduler({
      context,
      sequences: size.sequences,
      contextTokens: size.contextTokens,
      vocabulary: this.#vocabulary,
      itlTargetMs: options.config.itlTargetMs,
      prefixCache: options.config.prefixCache,
      memory: native.describe(),
      checkpointBytes: checkpointBytes(),
      ...gapCosts(loaded),
      streams: options.config.kvLayout !== "unified",
      speculation: loaded.speculation,
      heartbeat: options.heartbeat,
      log: options.log,
      onLost: options.onLost ?? (() => {}),
    });
    const model = { ...this.backend, ...size, build: this.model.buildId };
    this.#kept = keptPrefixes(options.config, model, { context, contextTokens: size.contextTokens, log: options.log });
  }

  /** Before the first request. */
  async restorePrefixes(): Promise<void> {
    const kept = this.#kept;
    if (kept) await this.#scheduler.exclusively((sequences) => kept.restore(sequences));
  }

  async keepPrefixes(withinMs: number): Promise<void> {
    const kept = this.#kept;
    if (kept) await this.#scheduler.exclusively((sequences) => kept.save(sequences, withinMs));
  }

  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array> {
    return this.#reads.track(tokenizeText(this.#loaded.native, text, addSpecial, parseSpecial));
  }

  renderChat(prompt: ChatPrompt): Promise<RenderedPrompt> {
    return this.#reads.track(renderChat(this.#loaded.addon, this.#loaded.native, prompt));
  }

  detokenize(tokens: Int32Array): Uint8Array {
    return this.#vocabulary.specialPieces.join(tokens);
  }

  prepareSampler(sampling: Sampling, constraint: Constraint): Promise<PreparedSampler> {
    return this.#reads.track(prepareSampler(this.#loaded.addon, this.#loaded.native, sampling, constraint));
  }

  generate(request: GenerationRequest): AsyncIterable<GenerationEvent> {
    const { options, adapters } = this.#loaded;
    const shared = options.config.prefixCacheScope === "shared" && request.cacheScope !== null;
    const loraScales = request.loraScales ?? adapters.scales;
    const cacheScope = adapters.scope(shared ? "" : request.cacheScope, loraScales);
    return this.#scheduler.submit({ ...request, loraScales, cacheScope });
  }

  slots(): SlotInfo[] {
    return this.#scheduler.slots();
  }

  decodeWork(): DecodeWork {
    return this.#scheduler.work;
  }

  speculation(): SpeculationInfo {
    return this.#loaded.speculation?.info ?? { draftedTokens: 0, acceptedTokens: 0 };
  }

  gpuMemory(): ReturnType<Engine["gpuMemory"]> {
    return gpuMemory(this.#loaded.llama);
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    await this.#scheduler.dispose();
    await this.#loaded.speculation?.dispose();
    await this.#loaded.vectors.dispose();
    await this.#reads.settled();
    this.#loaded.context.dispose();
    await this.#loaded.model.dispose();
    await this.#loaded.llama.dispose();
  }
}

/** Bound of the checkpoints in RAM: an eighth of what is left when the context has its own, 1 GiB at most. */
const checkpointBytes = () => Math.min(process.availableMemory() / 8, 2 ** 30);

/** A unified cache has no gaps; a memory that cannot drop its tail could not lose a throwaway token again. */
function gapCosts({ options, llama, native }: Loaded): GapCosts {
  const { recurrent, windowTokens } = native.describe();
  const tokens = llama.gpu === false ? passTokens.cpu : passTokens.gpu;
  if (options.config.kvLayout === "unified" || recurrent) return { gap: 0, passTokens: 0 };
  return { gap: windowTokens > 0 ? 0 : tokens, passTokens: tokens };
}
