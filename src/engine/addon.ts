// What the objects of native/build/llama-gguf.node look like from TypeScript; load-addon.ts loads it.
import type { Sampling } from "./engine.ts";
import type { TextBytes } from "./text-bytes.ts";

export type NativeContextOptions = {
  /** All sequences together. */
  readonly contextTokens: number;
  /** Most tokens of one step (n_batch), and of one compute pass (n_ubatch). */
  readonly batchTokens: number;
  readonly microBatchTokens: number;
  readonly sequences: number;
  readonly threads: number;
  readonly flashAttention: "auto" | "on" | "off";
  readonly keyType: "f16" | "q8_0" | "q4_0";
  readonly valueType: "f16" | "q8_0" | "q4_0";
  /** One KV pool for all sequences instead of a part (stream) each. */
  readonly unified: boolean;
  /** Drafted tokens that one step may verify, of all sequences; default 0. */
  readonly draftTokens?: number;
};

/** What a context takes, on all devices. */
export type NativeMemory = { modelBytes: number; contextBytes: number; computeBytes: number };

/** The batch a step works on, n_batch long each: the caller fills the first five, the step the others. */
export type BatchBuffers = {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly sequences: Int32Array;
  /** 1 = sample after this token, 2 = score the token that follows it in the prompt. */
  readonly outputs: Int8Array;
  /** That token, where outputs is 2. */
  readonly targets: Int32Array;
  /** One token per output, in batch order; -1 after a drafted token that was refused, or when samplingFailure() says why. */
  readonly sampled: Int32Array;
  /**
   * A row of 1 + 20 per output: the sampled or scored token, then the most likely ones; filled for sequences that want
   * log-probabilities. There is one row for each sequence, and some more for scored tokens.
   */
  readonly topTokens: Int32Array;
  readonly logprobs: Float32Array;
};

/** A sampler whose grammar was compiled off the main thread; it serves one sequence, once. */
export type NativePreparedSampler = { readonly __prepared: never };

/** What restricts an answer beyond its sampling settings; all but kind, grammar and budget as renderChat() gives them. */
export type NativeConstraint = {
  readonly kind: "none" | "user" | "template";
  readonly grammar: string;
  readonly lazy: boolean;
  readonly triggers: readonly NativeTrigger[];
  readonly generationPrompt: string;
  readonly thinkingStartTag: string;
  readonly thinkingEndTags: readonly string[];
  /** Reasoning tokens allowed; -1 = any number. */
  readonly budgetTokens: number;
  readonly budgetMessage: string;
};

export type NativeTrigger = { readonly type: number; readonly value: string; readonly token: number };

/** Between a step, or a copy of a state, and its settlement every other method throws. Errors of step() carry a code: see StepErrorCode. */
export interface NativeContext {
  buffers(): BatchBuffers;
  /**
   * Decodes the first `count` batch entries and samples. Resolves with the number of outputs. An output right after another one of
   * its sequence is a drafted token, and is refused unless it is the token that was sampled before it.
   * @param ahead the next step may begin before this one's outcome is known here
   */
  step(count: number, ahead?: boolean): Promise<number>;
  /**
   * The step after the last one runs already: it was allowed to (`ahead`), every sequence has one token in the batch, and none of the
   * sampled ones ends an answer. It decodes these, each at the next position, and must be asked for with next(); until that has settled
   * the context is busy.
   */
  runsAhead(): boolean;
  /** The outcome of the step that runs ahead, as step() gives it. */
  next(ahead: boolean): Promise<number>;
  /** Takes the permission back; a step that has begun is not touched. */
  hold(): void;
  /** How long the last step took. */
  stepMs(): number;
  /** False when this kind of memory cannot drop that part; `to` < 0 = to the end. */
  removeTokens(sequence: number, from: number, to: number): boolean;
  copySequence(from: number, to: number): void;
  /** The first position that is still in the memory of every layer; -1 when the sequence is empty. */
  firstPosition(sequence: number): number;
  /**
   * What the sequence holds, as bytes for loadState() of a context of the same model and settings. Null when it is larger than
   * `maxBytes`. @param partial only what removeTokens() cannot cut
   */
  saveState(sequence: number, partial: boolean, maxBytes: number): Promise<Uint8Array | null>;
  /** Replaces what the sequence holds. False when it is no such state, or changed; the sequence may hold anything then. */
  loadState(sequence: number, state: Uint8Array, partial: boolean): Promise<boolean>;
  /** @param logprobs alternatives reported with each token, 20 at most; < 0 = no log-probabilities */
  setSampler(sequence: number, sampler: Sampling | NativePreparedSampler, prompt: Int32Array, logprobs: number): void;
  clearSampler(sequence: number): void;
  /** With all it has seen; `from` is left without one. */
  moveSampler(from: number, to: number): void;
  /** Why the sequence's last output got -1 instead of a token; null when it got one. */
  samplingFailure(sequence: number): NativeSamplingFailure | null;
  /** @param scales one for each LoRA adapter of the model, for the steps from now on; 0 = without it */
  setAdapters(scales: readonly number[]): void;
  memory(): NativeMemory;
  dispose(): void;
}

/** The failure of one sequence alone; its cache is as after any step. */
export type NativeSamplingFailure = {
  /** The first two: its grammar has too many readings at once, or no token may continue the text. */
  readonly code: "GRAMMAR_TOO_COMPLEX" | "GRAMMAR_DEAD_END" | "SAMPLING_FAILED";
  readonly message: string;
};

export type StepErrorCode = "NO_KV_SLOT" | "ABORTED" | "STEP_FAILED";

export type NativeModelDescription = {
  readonly vocabType: number;
  readonly vocabSize: number;
  readonly trainContextTokens: number;
  readonly embeddingLength: number;
  readonly parameters: number;
  readonly sizeBytes: number;
  readonly ftype: string;
  readonly hasDecoder: boolean;
  readonly hasEncoder: boolean;
  /** Layers keep a recurrent state, alone or beside others with keys and values. */
  readonly recurrent: boolean;
  /** Tokens that layers with a sliding window see; 0 without such layers. */
  readonly windowTokens: number;
  /** Special tokens; -1 when the model has none. */
  readonly bosToken: number;
  readonly eosToken: number;
  readonly fimPrefix: number;
  readonly fimSuffix: number;
  readonly fimMiddle: number;
  readonly fimRepository: number;
  readonly fimFile: number;
};

/** How the model writes answers to such a prompt, for an AnswerParser. */
export type NativeAnswerFormat = { readonly __format: never };

export type NativeRenderedChat = {
  /** UTF-8. */
  readonly prompt: Uint8Array;
  readonly tokens: Int32Array;
  readonly preservedTokens: Int32Array;
  readonly supportsThinking: boolean;
  readonly thinkingStartTag: string;
  readonly thinkingEndTags: string[];
  readonly format: NativeAnswerFormat;
  readonly generationPrompt: string;
  readonly additionalStops: string[];
  /** Of tools or a JSON schema; "" when nothing is restricted. */
  readonly grammar: string;
  /** The grammar holds only once a trigger was seen. */
  readonly lazy: boolean;
  readonly triggers: NativeTrigger[];
};

/** Token i is bytes[offsets[i], offsets[i + 1]). */
export type NativePieces = { readonly bytes: Uint8Array; readonly offsets: Uint32Array };

export type NativeChatTemplates = {
  readonly source: string;
  /** False: the model has no template of its own. */
  readonly explicit: boolean;
  readonly caps: Record<string, boolean>;
};

export interface NativeModel {
  describe(): NativeModelDescription;
  /** @param special control tokens as text; otherwise they are empty */
  pieces(special: boolean): NativePieces;
  endOfGenerationTokens(): Int32Array;
  tokenize(text: TextBytes, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array>;
  /** @param source a template, or "" for the model's own (ChatML when it has none) */
  loadChatTemplates(source: string): NativeChatTemplates;
  /** @param requestJson messages and the settings that templates know, under llama-server's names (native/src/chat_render.h) */
  renderChat(requestJson: TextBytes): Promise<NativeRenderedChat>;
  /** GBNF of what is valid against a JSON schema. Rejects with the converter's own message. */
  schemaGrammar(schemaJson: string): Promise<string>;
  /** One at a time, before there is a context. Resolves with the LoRA adapter's id; rejects with llama.cpp's reason. */
  loadAdapter(path: string): Promise<number>;
}

export interface NativeAnswerParser {
  /** What the text adds; some of it may come with a later one. @param partial false: the answer is complete */
  push(text: string, partial: boolean): NativeAnswerDelta;
  /** How much text llama.cpp's parser, which begins anew each time, was given so far: what the answer cost. */
  readonly bytesRead: number;
}

export type NativeAnswerDelta = {
  readonly reasoning: string;
  readonly content: string;
  /** A call's name comes with its first entry. */
  readonly toolCalls: readonly { readonly index: number; readonly name: string; readonly arguments: string }[];
};

export type NativeParserOptions = {
  /** False: reasoning, or calls, stay in the content. */
  readonly reasoning: boolean;
  readonly toolCalls: boolean;
  /** The prompt ends inside the answer. */
  readonly continues: boolean;
};

/** What a model file says about its vectors. */
export type NativePooling = {
  /** none: it makes no vectors of texts. */
  readonly type: "none" | "mean" | "cls" | "last" | "rank";
  /** False: the model reads a text in one pass, and cannot write one. */
  readonly causal: boolean;
  /** An input may be longer than a batch. */
  readonly splits: boolean;
  /** The scores of a model that ranks are probabilities already. */
  readonly probabilities: boolean;
};

/** Between an embed() and its settlement another one throws. */
export interface NativeEmbeddingContext {
  /** Numbers in one vector, tokens of a batch, tokens of the longest input. */
  describe(): { readonly width: number; readonly batchTokens: number; readonly inputTokens: number };
  /** @param inputs of one batch; one of them alone may be longer where the model splits. Resolves with a row of width for each */
  embed(inputs: readonly Int32Array[]): Promise<Float32Array>;
  /** As a NativeContext's. */
  setAdapters(scales: readonly number[]): void;
  dispose(): void;
}

/** What a draft model is asked: the text is what `sequence` holds up to `keep`, then `read`, then `last`. */
export type NativeDraftRequest = {
  readonly sequence: number;
  readonly keep: number;
  readonly read: Int32Array;
  readonly last: number;
  /** Guesses; 0 = only `read` is read. */
  readonly most: number;
};

/** @property length tokens that the sequence holds then, of the text and of the guesses after it */
export type NativeDraft = { readonly guesses: Int32Array; readonly length: number };

/** Between a draft() and its settlement the others throw, but for dispose(). */
export interface NativeDraftContext {
  /** @param requests in order of their sequences, of one batch. When it rejects, the sequences may hold anything. */
  draft(requests: readonly NativeDraftRequest[]): Promise<readonly NativeDraft[]>;
  memory(): NativeMemory;
  dispose(): void;
}

export interface NativePromptLookup {
  /** @returns what followed the text's end where it stood before; `last` is its last token, and not among `tokens` */
  lookUp(tokens: Int32Array, last: number, most: number): Int32Array;
}

export type Addon = {
  readonly nodeLlamaCppVersion: string;
  readonly llamaCppTag: string;
  readonly Model: new (nodeLlamaCppModel: unknown) => NativeModel;
  readonly AnswerParser: new (
    format: NativeAnswerFormat,
    generationPrompt: string,
    options: NativeParserOptions,
  ) => NativeAnswerParser;
  /** Rejects with the grammar's own error. */
  prepareSampler(model: NativeModel, sampling: Sampling, constraint: NativeConstraint): Promise<NativePreparedSampler>;
  createContext(model: NativeModel, options: NativeContextOptions): Promise<NativeContext>;
  describePooling(model: NativeModel): NativePooling;
  /** Rejects when the model does not pool. microBatchTokens and unified do not count. */
  createEmbeddingContext(model: NativeModel, options: NativeContextOptions): Promise<NativeEmbeddingContext>;
  /** @param leastProbability a guess that the model gives less, among its ten best, ends a draft */
  createDraftContext(
    model: NativeModel,
    options: NativeContextOptions,
    mostGuesses: number,
    leastProbability: number,
  ): Promise<NativeDraftContext>;
  /** @param repeated how many tokens must repeat, tried in this order */
  readonly PromptLookup: new (
    repeated: readonly number[],
    mostGuesses: number,
  ) => NativePromptLookup;
  /** A query with each document, as llama-server writes pairs for this model; ends with the first that has more than maxTokens. */
  tokenizePairs(
    model: NativeModel,
    query: TextBytes,
    documents: readonly TextBytes[],
    maxTokens: number,
  ): Promise<Int32Array[]>;
};
