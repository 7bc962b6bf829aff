// What a generation yields on its way across the seam (engine.ts): pieces of its answer, log-probabilities, counts and times.

/** A piece of an answer, in order of generation. */
export type AnswerPart =
  | { readonly kind: "content" | "reasoning"; readonly text: string }
  /** The first piece of a call brings its name; `arguments` is the next piece of their text. */
  | { readonly kind: "tool_call"; readonly index: number; readonly name?: string; readonly arguments: string };

/** A token with its log-probability: natural logarithm of the softmax over the raw logits, before bias, penalties and grammar. */
export type TokenLogprob = {
  readonly token: number;
  /** Its bytes, special tokens as text; a part of a character is possible. */
  readonly bytes: Uint8Array;
  readonly logprob: number;
};

/** A token's of a text, and those of the most likely ones in its place, most likely first. */
export type ScoredToken = TokenLogprob & { readonly top: readonly TokenLogprob[] };

/** A sampled token's. */
export type SampledLogprob = ScoredToken & {
  /** UTF-16 units of the answer's raw text before it. */
  readonly start: number;
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

/** What was computed for an answer, and how long it took. */
export type Measured = { readonly usage: Usage; readonly timings: Timings };

/** At first how much of the prompt was cached; then once for every step that evaluated more; last all of it. */
export type PrefillProgress = {
  readonly type: "progress";
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Cached ones included. */
  readonly processedTokens: number;
  /** Since the request has its sequence. */
  readonly ms: number;
};

export type GenerationEvent =
  | PrefillProgress
  /** The next tokens of the prompt, when their log-probabilities were asked for: from the second one on, before any delta. */
  | { readonly type: "prompt"; readonly scores: readonly ScoredToken[] }
  | {
      readonly type: "delta";
      readonly parts: readonly AnswerPart[];
      /** Of the tokens whose text is in these parts, when asked for; never of end tokens or of text cut by a stop string. */
      readonly logprobs?: readonly SampledLogprob[];
      /** When asked for. */
      readonly soFar?: Measured;
    }
  | ({
      readonly type: "finish";
      readonly reason: "stop" | "length";
      /** The stop string that matched, or null. */
      readonly stopString: string | null;
    } & Measured);
