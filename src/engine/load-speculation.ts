// Sets speculation up as the configuration asks for it: loads the draft model, gives it a context when the main one's size is
// granted, and refuses models that cannot be speculated with or for.
import type { Llama, LlamaModel } from "node-llama-cpp";
import type { Config } from "../config.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Addon, NativeModel } from "./addon.ts";
import { loadModel } from "./backend.ts";
import { cutsAnywhere } from "./cuts.ts";
import { DraftModel } from "./draft-model.ts";
import { type ContextSize, capped } from "./fit.ts";
import { maxDraft, maxSpeculating, maxSpeculatingInWindows, repeatedTokens, Speculation } from "./speculation.ts";
import { TokenPieces } from "./text-stream.ts";

export type LoadSpeculationOptions = {
  readonly config: Config;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly llama: Llama;
  readonly addon: Addon;
  /** The main model. */
  readonly native: NativeModel;
  /** Already checked (model-file.ts). */
  readonly draftModelPath?: string | undefined;
};

/** Prompt tokens that the draft model reads at a time: how long a step of the main model may have to wait for it. */
const draftBatchTokens = 512;
/** A guess that the draft model itself believes in less than this ends a draft. */
const leastProbability = 0.4;
/** As llama.cpp: sizes may differ by padding, and the first tokens are special ones that go by several names. */
const vocabulary = { paddingTokens: 128, firstCompared: 5 };

/** A draft model that is loaded and has no context yet. */
export type DraftFile = {
  readonly path: string;
  readonly model: LlamaModel;
  readonly native: NativeModel;
  /** Tokens that both models know. */
  readonly vocabSize: number;
  /** The largest context that is of use. */
  readonly most: ContextSize;
};

/**
 * Loads the weights, so that what contexts of both models need can be measured.
 * @returns undefined when no draft model is configured
 * @throws Error naming the variable, also when the main model cannot be speculated for; nothing stays allocated then
 */
export async function loadDraftFile(options: LoadSpeculationOptions): Promise<DraftFile | undefined> {
  const { config, native, draftModelPath: path } = options;
  if (path === undefined && !config.promptLookup) return undefined;
  if (native.describe().recurrent) {
    const variable = path === undefined ? "PROMPT_LOOKUP" : "DRAFT_MODEL_PATH";
    throw new Error(`${variable}: the main model cannot drop tokens that were guessed wrong from its memory; unset it`);
  }
  return path === undefined ? undefined : naming(path, options.signal, () => loadFile(path, options));
}

/**
 * @param draft stays its caller's when this throws
 * @returns undefined when nothing is configured
 * @throws Error naming the variable
 */
export async function createSpeculation(
  options: LoadSpeculationOptions,
  draft: DraftFile | undefined,
  granted: ContextSize,
): Promise<Speculation | undefined> {
  const { config, log, native, signal, addon } = options;
  if (draft === undefined && !config.promptLookup) return undefined;
  const model = draft && (await naming(draft.path, signal, () => createDraftModel(draft, granted, options)));
  const endTokens = new Set(native.endOfGenerationTokens());
  const mostRunning = cutsAnywhere(native.describe()) ? maxSpeculating : maxSpeculatingInWindows;
  const lookup = config.promptLookup ? new addon.PromptLookup(repeatedTokens, maxDraft) : undefined;
  return new Speculation({ lookup, model, mostRunning, endTokens, log });
}

async function naming<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    signal.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`DRAFT_MODEL_PATH (${path}): ${reason}`, { cause });
  }
}

async function loadFile(path: string, options: LoadSpeculationOptions): Promise<DraftFile> {
  const { config, signal, llama, addon, native: main } = options;
  const model = await loadModel(llama, config, { path, signal, onProgress: () => {} });
  try {
    const native = new addon.Model((model as unknown as { _model: unknown })._model);
    if (!cutsAnywhere(native.describe())) throw new Error("the model cannot drop tokens that were guessed wrong");
    const vocabSize = expectSameVocabulary(main, native);
    const most = { contextTokens: native.describe().trainContextTokens, sequences: maxSpeculating };
    return { path, model, native, vocabSize, most };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

async function createDraftModel(
  { path, model, native, vocabSize, most }: DraftFile,
  granted: ContextSize,
  { config, log, llama, addon }: LoadSpeculationOptions,
): Promise<DraftModel> {
  const { contextTokens, sequences } = capped(granted, most);
  const size = {
    contextTokens: contextTokens * sequences,
    batchTokens: draftBatchTokens,
    microBatchTokens: draftBatchTokens,
    sequences,
    threads: config.threads || llama.cpuMathCores,
    flashAttention: config.flashAttn,
    keyType: config.kvTypeK,
    valueType: config.kvTypeV,
    unified: false,
  };
  const context = await addon.createDraftContext(native, size, maxDraft, leastProbability);
  log.info({ path, contextTokens, ...context.memory() }, "draft model loaded");
  const dispose = async () => {
    context.dispose();
    await model.dispose();
  };
  return new DraftModel({ context, sequences, contextTokens, batchTokens: draftBatchTokens, vocabSize, dispose });
}

/** @returns how many tokens both models know */
function expectSameVocabulary(main: NativeModel, draft: NativeModel): number {
  const [ours, its] = [main.describe(), draft.describe()];
  const common = Math.min(ours.vocabSize, its.vocabSize);
  if (ours.vocabType !== its.vocabType || Math.abs(ours.vocabSize - its.vocabSize) > vocabulary.paddingTokens) {
    const sizes = `${its.vocabSize} tokens of type ${its.vocabType}, not ${ours.vocabSize} of type ${ours.vocabType}`;
    throw new Error(`its vocabulary is not the main model's: ${sizes}`);
  }
  const [ourPieces, itsPieces] = [new TokenPieces(main.pieces(true)), new TokenPieces(draft.pieces(true))];
  for (let token = vocabulary.firstCompared; token < common; token++) {
    const [our, it] = [Buffer.from(ourPieces.bytes(token)), Buffer.from(itsPieces.bytes(token))];
    if (our.equals(it)) continue;
    const texts = `${JSON.stringify(it.toString())}, not ${JSON.stringify(our.toString())}`;
    throw new Error(`its vocabulary is not the main model's: token ${token} is ${texts}`);
  }
  return common;
}
