// The seam between HTTP and inference. What crosses it is typed and already validated; nothing here knows JSON or HTTP.
// LlamaEngine serves a GGUF, MockEngine a script; every endpoint works with either.

import type { Embedder, Reranker } from "./embedding.ts";
import type { AnswerPart, GenerationEvent, Usage } from "./events.ts";
import type { BackendInfo, DecodeWork, SlotInfo, SpeculationInfo } from "./reports.ts";

export type { Embedder, Reranker, VectorModelInfo } from "./embedding.ts";
export type * from "./events.ts";
export type * from "./reports.ts";

export type ModelInfo = {
  /** The name shown to clients (MODEL_ALIAS). */
  readonly name: string;
  /** Modification time of the model file, Unix seconds. */
  readonly created: number;
  /** `b…`: changes with the program, llama.cpp or the model file; sent as system_fingerprint. */
  readonly buildId: string;
  /** Tokens one request may use, prompt + answer, as granted at start. */
  readonly contextTokens: number;
  readonly trainContextTokens: number;
  readonly vocabType: number;
  readonly vocabSize: number;
  readonly embeddingLength: number;
  readonly parameters: number;
  readonly sizeBytes: number;
  /** Quantisation as llama.cpp names it, for example "Q8_0". */
  readonly ftype: string;
  readonly chatTemplate: ChatTemplateInfo;
  /** Texts of the special tokens; "" when the model has none. */
  readonly bosToken: string;
  readonly eosToken: string;
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[];
  /** Fill-in-the-middle tokens, or null when the model has none. */
  readonly fim: FimTokens | null;
  /** Of the loaded LoRA adapters by id, where a request sets none; empty without adapters. */
  readonly loraScales: readonly number[];
};

export type ChatTemplateInfo = {
  readonly source: string;
  /** llama.cpp's findings, for example supports_tools, supports_parallel_tool_calls, supports_system_role. */
  readonly caps: Readonly<Record<string, boolean>>;
};

export type FimTokens = {
  readonly prefix: number;
  readonly suffix: number;
  readonly middle: number;
  /** Between repositories and between files; -1 when the model has none. */
  readonly repository: number;
  readonly file: number;
};

/** Settings of one sampler chain; ranges as in API.md section 5. What is left out is off, or llama.cpp's default. */
export type Sampling = {
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** <= 0 = off. */
  readonly topK: number;
  readonly minP: number;
  /** 0 to 2^32 - 1, already resolved: equal seed and settings give equal tokens. */
  readonly seed: number;
  readonly repeatPenalty: number;
  readonly repeatLastN: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  /** [token id, bias]; -Infinity = never. Ids are inside the vocabulary. */
  readonly logitBias: ReadonlyArray<readonly [token: number, bias: number]>;
  readonly typicalP?: number;
  /** < 0 = off. */
  readonly topNSigma?: number;
  readonly dynatempRange?: number;
  readonly dynatempExponent?: number;
  readonly xtcProbability?: number;
  readonly xtcThreshold?: number;
  readonly dryMultiplier?: number;
  readonly dryBase?: number;
  readonly dryAllowedLength?: number;
  readonly dryPenaltyLastN?: number;
  readonly drySequenceBreakers?: readonly string[];
  readonly mirostat?: 0 | 1 | 2;
  readonly mirostatTau?: number;
  readonly mirostatEta?: number;
  /** Order of the chain, llama.cpp's names ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"). */
  readonly samplers?: readonly string[];
};

export type ToolCall = { readonly id: string; readonly name: string; readonly arguments: string };

export type ChatMessage = {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly name?: string;
  /** An assistant's earlier reasoning, for templates that show it. */
  readonly reasoning?: string;
  /** An assistant's calls; `arguments` is the text of a JSON object. */
  readonly toolCalls?: readonly ToolCall[];
  /** Of a tool message: the call it answers. */
  readonly toolCallId?: string;
};

/** A function the model may call; `parameters` is a JSON schema of an object. */
export type ChatTool = { readonly name: string; readonly description?: string; readonly parameters: object };

export type ChatPrompt = {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ChatTool[];
  /** Default auto. A call of one named function is "required" with that one tool alone. */
  readonly toolChoice?: "auto" | "required" | "none";
  /** Default: what the template can. */
  readonly parallelToolCalls?: boolean;
  /** The content must be valid against it. Excludes `grammar`. */
  readonly jsonSchema?: object;
  /** How a refusal of `jsonSchema` names it. */
  readonly schemaParam?: string;
  /** GBNF that the answer must follow, after the reasoning if there is any. */
  readonly grammar?: string;
  /** Further variables of the template. */
  readonly templateKwargs?: Readonly<Record<string, unknown>>;
  /** Default: true where the template knows thinking. */
  readonly enableThinking?: boolean;
  /** False: reasoning stays in the content, tags and all. Default true. */
  readonly splitReasoning?: boolean;
  readonly addGenerationPrompt?: boolean;
  /** Go on with the last message, an assistant's, instead of a new turn. */
  readonly continueFinalMessage?: true | "content" | "reasoning_content";
};

/** Splits one answer's text into parts while it arrives. Concatenated parts of each kind equal those of the whole text. */
export interface AnswerReader {
  push(text: string): AnswerPart[];
  /** The answer is complete: hands out what was held back. Called once, last. */
  end(): AnswerPart[];
}

/** How answers to one rendered prompt are written by the model. Opaque to callers: they pass it on to generate(). */
export type AnswerFormat = {
  /** A fresh reader for one answer. */
  readonly createReader: () => AnswerReader;
  /** Special tokens whose text belongs to the answer. */
  readonly preservedTokens: ReadonlySet<number>;
  /** Stop strings that the chat template asks for. */
  readonly stop: readonly string[];
  /** The model marks its reasoning with tags, so it can be split off and given a budget. */
  readonly thinks: boolean;
  /** A grammar of tools or a JSON schema restricts the answer: it needs a sampler from prepareSampler(). */
  readonly constrained: boolean;
};

export type RenderedPrompt = {
  /** UTF-8, as the template wrote it. */
  readonly text: Uint8Array;
  readonly tokens: Int32Array;
  readonly answer: AnswerFormat;
};

/** Restricts one answer beyond its sampling settings. At least one member is given. */
export type Constraint = {
  /** Brings the grammar of its tools or JSON schema. */
  readonly answer?: AnswerFormat;
  /** GBNF; excludes an `answer` that is constrained. */
  readonly grammar?: string;
  /** Of the whole answer; excludes `grammar` and an `answer`, which has its own. */
  readonly jsonSchema?: object;
  /** Tokens of reasoning after which its end tag is forced; absent or -1 = any number. Needs an `answer` that thinks. */
  readonly reasoningBudget?: number;
  /** Put before the forced end tag. */
  readonly reasoningBudgetMessage?: string;
};

/** A sampler compiled off the main thread; it serves one generate() call. Opaque to callers. */
export type PreparedSampler = {
  readonly prepared: unknown /** GBNF of the caller's. */;
  readonly ownGrammar?: boolean;
};

export type GenerationRequest = {
  /** Token ids inside the vocabulary; at least one, and fewer than contextTokens (equal is allowed when maxTokens is 0). */
  readonly prompt: Int32Array;
  /** Upper bound of sampled tokens, 0 to contextTokens - prompt.length; 0 only evaluates the prompt. */
  readonly maxTokens: number;
  /** Strings that end the answer and are cut from it; matched on the raw text. */
  readonly stop: readonly string[];
  readonly sampling: Sampling;
  /** From prepareSampler() with the same sampling; required when `answer` is constrained. */
  readonly sampler?: PreparedSampler;
  /** Alternatives reported with every token, 0 to 20; absent: no log-probabilities. */
  readonly logprobs?: number;
  /** Alternatives reported with every prompt token but the first, 0 to 20; absent: none. No part of the prompt is reused then. */
  readonly promptLogprobs?: number;
  /** Milliseconds from the first token on, after which the answer ends with its next line; absent: any time. */
  readonly maxDecodeMs?: number;
  /** Tell how far the evaluation of the prompt is: progress events. */
  readonly reportProgress?: boolean;
  /** Deltas bring what was computed so far, and how long it took. */
  readonly reportTimings?: boolean;
  /** Requests share cached prompt beginnings only within a scope (the key id); null: nothing is reused, and nothing kept. */
  readonly cacheScope: string | null;
  /** A scale for each of the model's LoRA adapters, by id; absent: the server's. */
  readonly loraScales?: readonly number[];
  /** From renderChat(). Absent: all text is content. */
  readonly answer?: AnswerFormat;
  /** Whose request it is, for slots(). */
  readonly caller?: { readonly keyId: string; readonly requestId: string };
  /** Called when prefill begins, before any event. Must not throw. @param cachedTokens prompt tokens not evaluated again */
  readonly onStart?: (cachedTokens: number) => void;
  /**
   * Called once, however it ended, when it neither has a sequence nor waits for one any more: with what was computed for it, its
   * `promptTokens` being those in the cache then, reused ones included. Must not throw.
   */
  readonly onEnd?: (computed: Usage) => void;
  /** Aborted when the client left or a deadline passed: the sequence is free at most one step later. */
  readonly signal: AbortSignal;
};

export interface Engine {
  readonly model: ModelInfo;
  readonly backend: BackendInfo;
  /** Null when no served model can do it. */
  readonly embedder: Embedder | null;
  readonly reranker: Reranker | null;
  /** Sequences decoded together, as granted at start. */
  readonly maxConcurrentRequests: number;
  /**
   * Token ids of a text in the model's vocabulary, off the main thread.
   * @param addSpecial put BOS/EOS where the model wants them
   * @param parseSpecial read special tokens written as text (`<|im_start|>`) as those tokens
   */
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array>;
  /** The bytes of tokens in order, special ones as text. Ids are inside the vocabulary. */
  detokenize(tokens: Int32Array): Uint8Array;
  /** Applies the chat template and tokenises. @throws Failure chat_template_error with the template's own message */
  renderChat(prompt: ChatPrompt): Promise<RenderedPrompt>;
  /** Compiles a grammar off the main thread. @throws Failure invalid_grammar, or invalid_json_schema, with the parser's own message */
  prepareSampler(sampling: Sampling, constraint: Constraint): Promise<PreparedSampler>;
  /**
   * Takes a sequence, or the next one that comes free, first come first served, and yields deltas (each with a part or a log-probability), then exactly one finish;
   * before the deltas what was asked for about the prompt.
   * Throws the signal's reason when aborted, Failure generation_failed when a step failed, invalid_grammar or
   * schema_too_complex when the answer's grammar turned out too ambiguous, or leads where no token goes on.
   * A caller that stops iterating must abort the signal or call return().
   */
  generate(request: GenerationRequest): AsyncIterable<GenerationEvent>;
  /** The sequences by id. */
  slots(): SlotInfo[];
  decodeWork(): DecodeWork;
  speculation(): SpeculationInfo;
  /** Memory of the GPUs, other programs' use included; zeros on the CPU. */
  gpuMemory(): Promise<{ readonly usedBytes: number; readonly totalBytes: number }>;
  /** Saves prompt beginnings for the next start where configured, for `withinMs` at most. Logs what goes wrong, throws nothing. */
  keepPrefixes(withinMs: number): Promise<void>;
  /** Ends all requests and frees contexts, then the model, then the backend. Idempotent. */
  dispose(): Promise<void>;
}
