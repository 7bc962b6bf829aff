// Embeddings and reranking over llama.cpp: from a model file of their own, or from the main model when it pools its vectors.
// Owns the models it loads and every embedding context; the main model stays its owner's.
import { statSync } from "node:fs";
import { basename } from "node:path";
import type { Llama, LlamaModel } from "node-llama-cpp";
import { type Config, defaultCtx } from "../config.ts";
import { Failure } from "../errors.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Addon, NativeEmbeddingContext, NativeModel, NativePooling } from "./addon.ts";
import { loadModel } from "./backend.ts";
import type { Embedder, OnTokens, Reranker, VectorModelInfo } from "./embedding.ts";
import { PendingReads } from "./pending-reads.ts";
import { type TextBytes, tokenizeText, toTextBytes } from "./text-bytes.ts";
import { VectorQueue } from "./vector-queue.ts";

/** The embedder and the reranker that are served; null where no loaded model can do it. */
export type VectorModels = {
  readonly embedder: Embedder | null;
  readonly reranker: Reranker | null;
  /** Frees contexts, then models. To be called before the main model goes. Idempotent. */
  dispose(): Promise<void>;
};

/** Files that were checked before (model-file.ts). */
export type VectorModelPaths = { readonly embedding?: string | undefined; readonly rerank?: string | undefined };

export type VectorModelsOptions = {
  readonly config: Config;
  readonly log: Logger;
  readonly heartbeat: Heartbeat;
  readonly signal: AbortSignal;
  readonly llama: Llama;
  readonly addon: Addon;
  readonly paths: VectorModelPaths;
  /** Serves what no file is given for, when it can. */
  readonly main: {
    readonly native: NativeModel;
    readonly path: string;
    readonly name: string;
    /** Of its LoRA adapters. */
    readonly loraScales: readonly number[];
  };
};

export const noVectorModels: VectorModels = { embedder: null, reranker: null, dispose: async () => {} };

/** Inputs of one batch, however short: each costs a row of the answer and a place in the batch. */
const batchInputs = 64;

/** @throws Error that says which model could not be loaded; nothing stays allocated then */
export async function loadVectorModels(options: VectorModelsOptions): Promise<VectorModels> {
  const loaded: VectorModel[] = [];
  const dispose = async () => {
    for (const model of loaded.splice(0).reverse()) await model.dispose();
  };
  const load = async (role: Role) => {
    const model = await loadRole(role, options);
    if (model) loaded.push(model);
    return model;
  };
  try {
    return { embedder: await load("embedding"), reranker: await load("rerank"), dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

type Role = "embedding" | "rerank";
const variables = { embedding: "EMBEDDING_MODEL_PATH", rerank: "RERANK_MODEL_PATH" } as const;

async function loadRole(role: Role, options: VectorModelsOptions): Promise<VectorModel | null> {
  const { config, log, llama, addon, main, signal } = options;
  const path = options.paths[role];
  if (path === undefined) {
    const pooling = addon.describePooling(main.native);
    return serves(role, pooling) ? createModel(role, pooling, main, undefined, options) : null;
  }
  const model = await loadFile(role, path, () => loadModel(llama, config, { path, signal, onProgress: () => {} }));
  try {
    const native = new addon.Model((model as unknown as { _model: unknown })._model);
    const pooling = addon.describePooling(native);
    const name = nameOf(path);
    if (serves(role, pooling))
      return await createModel(role, pooling, { native, path, name, loraScales: [] }, model, options);
    log.warn({ pooling: pooling.type }, `${variables[role]}: the model pools nothing for this; its routes are refused`);
    await model.dispose();
    return null;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

const serves = (role: Role, { type }: NativePooling): boolean =>
  role === "rerank" ? type === "rank" : type !== "rank" && type !== "none";

async function loadFile<T>(role: Role, path: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new Error(`${variables[role]} (${path}): the model could not be loaded`, { cause });
  }
}

/** As MODEL_ALIAS is by default. */
const nameOf = (path: string): string => basename(path).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");

async function createModel(
  role: Role,
  pooling: NativePooling,
  source: VectorModelsOptions["main"],
  owned: LlamaModel | undefined,
  { config, log, heartbeat, llama, addon }: VectorModelsOptions,
): Promise<VectorModel> {
  const described = source.native.describe();
  const longest = Math.min(described.trainContextTokens, config.ctx ?? defaultCtx);
  // An encoder reads an input in one pass, so the batch must hold the longest; a model that splits needs no more than a pass.
  const batchTokens = pooling.splits ? config.ubatch : Math.max(longest, config.ubatch);
  const context = await addon.createEmbeddingContext(source.native, {
    contextTokens: Math.max(longest, batchTokens),
    batchTokens,
    microBatchTokens: batchTokens,
    sequences: batchInputs,
    threads: config.threads || llama.cpuMathCores,
    flashAttention: config.flashAttn,
    keyType: "f16",
    valueType: "f16",
    unified: true,
  });
  context.setAdapters(source.loraScales);
  const { width, inputTokens } = context.describe();
  const contextTokens = Math.min(longest, inputTokens);
  const info: VectorModelInfo = {
    ...described,
    name: source.name,
    created: Math.floor(statSync(source.path).mtimeMs / 1000),
    contextTokens,
    embeddingLength: role === "embedding" ? width : described.embeddingLength,
  };
  log.info({ model: info.name, pooling: pooling.type, contextTokens, width }, `${role} model loaded`);
  const maxTokens = Math.min(config.ubatch, context.describe().batchTokens);
  return new VectorModel({ info, pooling, addon, native: source.native, context, owned, heartbeat, width, maxTokens });
}

type VectorModelParts = {
  readonly info: VectorModelInfo;
  readonly pooling: NativePooling;
  readonly addon: Addon;
  readonly native: NativeModel;
  readonly context: NativeEmbeddingContext;
  readonly owned: LlamaModel | undefined;
  readonly heartbeat: Heartbeat;
  /** Numbers that the context makes of one input. */
  readonly width: number;
  /** Of a batch of several inputs. */
  readonly maxTokens: number;
};

class VectorModel implements Embedder, Reranker {
  readonly model: VectorModelInfo;
  readonly probabilities: boolean;
  readonly #parts: VectorModelParts;
  readonly #queue: VectorQueue;
  readonly #reads = new PendingReads();
  #disposal: Promise<void> | undefined;

  constructor(parts: VectorModelParts) {
    this.#parts = parts;
    this.model = parts.info;
    this.probabilities = parts.pooling.probabilities;
    this.#queue = new VectorQueue({
      maxTokens: parts.maxTokens,
      maxInputs: batchInputs,
      run: (inputs) => this.#run(inputs),
    });
  }

  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array> {
    return this.#reads.track(tokenizeText(this.#parts.native, text, addSpecial, parseSpecial));
  }

  tokenizePairs(query: string, documents: readonly string[]): Promise<Int32Array[]> {
    return this.#reads.track(this.#tokenizePairs(query, documents));
  }

  async #tokenizePairs(query: string, documents: readonly string[]): Promise<Int32Array[]> {
    const { addon, native, info } = this.#parts;
    const texts: TextBytes[] = [];
    for (const document of documents) texts.push(await toTextBytes(document));
    return addon.tokenizePairs(native, await toTextBytes(query), texts, info.contextTokens);
  }

  embed(inputs: readonly Int32Array[], signal: AbortSignal, onTokens?: OnTokens): Promise<Float32Array[]> {
    return this.#queue.add(inputs, signal, onTokens);
  }

  async rank(pairs: readonly Int32Array[], signal: AbortSignal, onTokens?: OnTokens): Promise<number[]> {
    const rows = await this.#queue.add(pairs, signal, onTokens);
    // Of several classes the first one is "relevant", as llama-server takes it.
    return rows.map((row) => row[0]!);
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    await this.#queue.close(new Failure("draining", "The server is shutting down."));
    await this.#reads.settled();
    this.#parts.context.dispose();
    await this.#parts.owned?.dispose();
  }

  async #run(inputs: readonly Int32Array[]): Promise<Float32Array[]> {
    const { context, heartbeat, width } = this.#parts;
    let rows: Float32Array;
    try {
      rows = await context.embed(inputs);
    } catch (cause) {
      throw new Failure("generation_failed", "The engine failed while it worked on the request.", { cause });
    }
    heartbeat.step(0);
    if (!rows.every(Number.isFinite)) throw new Failure("generation_failed", "The model's answer is not a number.");
    return inputs.map((_, place) => rows.slice(place * width, (place + 1) * width));
  }
}
