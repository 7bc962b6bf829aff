// The seam between HTTP and inference. What crosses it is typed and already validated; nothing here knows JSON or HTTP.
// LlamaEngine serves a GGUF, MockEngine a script; every endpoint works with either.

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
};

/** Settings of one sampler chain; ranges as in API.md section 5. */
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
};

export type ChatMessage = {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
  readonly name?: string;
  /** An assistant's earlier reasoning, for templates that show it. */
  readonly reasoning?: string;
};

export type ChatPrompt = { readonly messages: readonly ChatMessage[] };

/** A piece of an answer, in order of generation. */
export type AnswerPart = { readonly kind: "content" | "reasoning"; readonly text: string };

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
};

export type RenderedPrompt = {
  readonly tokens: Int32Array;
  readonly answer: AnswerFormat;
};

export type GenerationRequest = {
  /** Token ids inside the vocabulary; at least one, and fewer than contextTokens (equal is allowed when maxTokens is 0). */
  readonly prompt: Int32Array;
  /** Upper bound of sampled tokens, 0 to contextTokens - prompt.length; 0 only evaluates the prompt. */
  readonly maxTokens: number;
  /** Strings that end the answer and are cut from it; matched on the raw text. */
  readonly stop: readonly string[];
  readonly sampling: Sampling;
  /** Requests share cached prompt beginnings only within a scope (the key id). */
  readonly cacheScope: string;
  /** From renderChat(). Absent: all text is content. */
  readonly answer?: AnswerFormat;
  /** Whose request it is, for slots(). */
  readonly caller?: { readonly keyId: string; readonly requestId: string };
  /** Aborted when the client left or a deadline passed: the sequence is free at most one step later. */
  readonly signal: AbortSignal;
};

/** What one sequence is doing; never text or parameters. Token counts of an idle one are zero, but for cachedTokens. */
export type SlotInfo = {
  readonly id: number;
  readonly state: "idle" | "prefill" | "decode";
  readonly caller: { readonly keyId: string; readonly requestId: string } | null;
  /** Milliseconds since the sequence was given away; 0 when idle. */
  readonly ageMs: number;
  readonly promptTokens: number;
  readonly promptTokensProcessed: number;
  /** Busy: prompt tokens that were not evaluated again. Idle: tokens it keeps for reuse. */
  readonly cachedTokens: number;
  readonly decodedTokens: number;
  /** Tokens the answer may still have. */
  readonly remainingTokens: number;
};

export type Usage = {
  readonly promptTokens: number;
  /** Prompt tokens that were not evaluated again. */
  readonly cachedTokens: number;
  /** Sampled tokens, end tokens included. */
  readonly completionTokens: number;
  readonly reasoningTokens: number;
};

/** Durations in milliseconds; arrival -> sequence, sequence -> first token, first -> last token. */
export type Timings = { readonly queueMs: number; readonly prefillMs: number; readonly decodeMs: number };

export type GenerationEvent =
  | { readonly type: "delta"; readonly parts: readonly AnswerPart[] }
  | {
      readonly type: "finish";
      readonly reason: "stop" | "length";
      /** The stop string that matched, or null. */
      readonly stopString: string | null;
      readonly usage: Usage;
      readonly timings: Timings;
    };

export interface Engine {
  readonly model: ModelInfo;
  /** Sequences decoded together, as granted at start. */
  readonly maxConcurrentRequests: number;
  /**
   * Token ids of a text in the model's vocabulary, off the main thread.
   * @param addSpecial put BOS/EOS where the model wants them
   * @param parseSpecial read special tokens written as text (`<|im_start|>`) as those tokens
   */
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array>;
  /** Applies the chat template and tokenises. @throws Failure chat_template_error with the template's own message */
  renderChat(prompt: ChatPrompt): Promise<RenderedPrompt>;
  /**
   * Queues the request at once and yields deltas (each with at least one part), then exactly one finish.
   * Throws the signal's reason when aborted, Failure generation_failed when a step failed.
   * A caller that stops iterating must abort the signal or call return().
   */
  generate(request: GenerationRequest): AsyncIterable<GenerationEvent>;
  /**
   * Every request that waits for its first sequence throws this reason; those that run go on. Generations with the same signal
   * are one request: while one of them runs, the others may wait.
   */
  refuseWaiting(reason: Error): void;
  /** The sequences by id. */
  slots(): SlotInfo[];
  /** Ends all requests and frees contexts, then the model, then the backend. Idempotent. */
  dispose(): Promise<void>;
}
