// One answer of the mock engine: counts its tokens, cuts it at stop strings and limits, and tells how it ended; and what the mock
// says when no script tells it.
import { performance } from "node:perf_hooks";
import type {
  AnswerPart,
  GenerationEvent,
  GenerationRequest,
  Measured,
  PrefillProgress,
  SampledLogprob,
  ScoredToken,
  SlotInfo,
  Usage,
} from "./engine.ts";
import { StopStrings } from "./text-stream.ts";

type Kind = "content" | "reasoning";

export class MockAnswer {
  readonly #request: GenerationRequest;
  readonly #stops: StopStrings;
  readonly #arrivedMs = performance.now();
  #startedMs = this.#arrivedMs;
  #firstTokenMs: number | undefined;
  #tokens = 0;
  #reasoningTokens = 0;
  #lastKind: Kind = "content";
  /** Of tokens whose text is not certain yet, then of those it is. */
  #heldLogprobs: SampledLogprob[] = [];
  #logprobs: SampledLogprob[] = [];
  /** UTF-16 units of all text so far, held back or not. */
  #length = 0;
  #reason: "stop" | "length" | undefined;
  #started = false;

  constructor(request: GenerationRequest) {
    this.#request = request;
    this.#stops = new StopStrings(request.stop);
    if (request.maxTokens === 0) this.#reason = "length";
  }

  /** It ended by a stop string or its limit; no further token is wanted. */
  get complete(): boolean {
    return this.#reason !== undefined;
  }

  /** It has a sequence. */
  start(): void {
    this.#started = true;
    this.#startedMs = performance.now();
    this.#request.onStart?.(0);
  }

  /** The text that is certain after one more token. */
  token(text: string, kind: Kind): AnswerPart[] {
    this.#count();
    this.#lastKind = kind;
    if (kind === "reasoning") this.#reasoningTokens += 1;
    if (this.#request.logprobs !== undefined) this.#heldLogprobs.push(this.#sampled(text, this.#request.logprobs));
    this.#length += text.length;
    const certain = this.#stops.push(text);
    if (this.#stops.matched !== null) this.#reason = "stop";
    else if (this.#tokens >= this.#request.maxTokens || this.#isOutOfTime(text)) this.#reason = "length";
    return this.#parts(this.complete ? certain + this.#stops.end() : certain);
  }

  /** One more token, inside a tool call; stop strings do not see it. */
  callToken(index: number, name: string | undefined, text: string): AnswerPart[] {
    this.#count();
    if (this.#request.logprobs !== undefined) this.#logprobs.push(this.#sampled(text, this.#request.logprobs));
    if (this.#tokens >= this.#request.maxTokens) this.#reason = "length";
    return [{ kind: "tool_call", index, ...(name !== undefined && { name }), arguments: text }];
  }

  /** Those that go with the parts just handed out. */
  takeLogprobs(): SampledLogprob[] {
    const taken = this.#logprobs;
    this.#logprobs = [];
    return taken;
  }

  /** The model is done: what was held back for a stop string is text after all. */
  endToken(): AnswerPart[] {
    this.#count();
    this.#reason = "stop";
    return this.#parts(this.#stops.end());
  }

  finish(): GenerationEvent {
    return {
      type: "finish",
      reason: this.#reason ?? "stop",
      stopString: this.#stops.matched,
      ...this.soFar,
    };
  }

  get soFar(): Measured {
    const now = performance.now();
    const firstTokenMs = this.#firstTokenMs ?? now;
    const timings = {
      queueMs: this.#startedMs - this.#arrivedMs,
      prefillMs: firstTokenMs - this.#startedMs,
      decodeMs: now - firstTokenMs,
    };
    return { usage: this.#usage, timings };
  }

  /** What is told of the prompt, when asked for: it is evaluated in one step. */
  *aboutPrompt(textOf: (token: number) => Uint8Array): Generator<GenerationEvent> {
    const { prompt, promptLogprobs, reportProgress } = this.#request;
    const progress = (processedTokens: number): PrefillProgress => {
      const ms = performance.now() - this.#startedMs;
      return { type: "progress", promptTokens: prompt.length, cachedTokens: 0, processedTokens, ms };
    };
    if (reportProgress) yield progress(0);
    if (reportProgress) yield progress(prompt.length);
    if (promptLogprobs === undefined || prompt.length === 1) return;
    const scores = Array.from(prompt.subarray(1), (token): ScoredToken => {
      return { ...mockLogprob(Buffer.from(textOf(token)).toString(), promptLogprobs), token, bytes: textOf(token) };
    });
    yield { type: "prompt", scores };
  }

  #sampled(text: string, count: number): SampledLogprob {
    return { ...mockLogprob(text, count), start: this.#length };
  }

  #isOutOfTime(text: string): boolean {
    const { maxDecodeMs } = this.#request;
    if (maxDecodeMs === undefined || !text.includes("\n")) return false;
    return performance.now() - this.#firstTokenMs! >= maxDecodeMs;
  }

  /** What a prompt's whole prefill and the tokens so far come to; nothing before it has a sequence. */
  get computed(): Usage {
    return this.#started ? this.#usage : { ...this.#usage, promptTokens: 0 };
  }

  get #usage(): Usage {
    return {
      promptTokens: this.#request.prompt.length,
      cachedTokens: 0,
      completionTokens: this.#tokens,
      reasoningTokens: this.#reasoningTokens,
    };
  }

  describe(id: number): SlotInfo {
    const { prompt, maxTokens, caller = null } = this.#request;
    return {
      id,
      state: this.#tokens === 0 ? "prefill" : "decode",
      caller,
      ageMs: performance.now() - this.#startedMs,
      promptTokens: prompt.length,
      promptTokensProcessed: this.#tokens === 0 ? 0 : prompt.length,
      cachedTokens: 0,
      decodedTokens: this.#tokens,
      remainingTokens: maxTokens - this.#tokens,
    };
  }

  #count(): void {
    this.#tokens += 1;
    this.#firstTokenMs ??= performance.now();
  }

  #parts(text: string): AnswerPart[] {
    if (text) this.#logprobs.push(...this.#heldLogprobs);
    if (text || this.#stops.matched !== null) this.#heldLogprobs = [];
    return text ? [{ kind: this.#lastKind, text }] : [];
  }
}

/** Certain to the eye: the shorter the text, the likelier; alternatives are its text with a number. */
function mockLogprob(text: string, count: number): ScoredToken {
  const entry = (said: string, logprob: number) => ({ token: mockToken, bytes: Buffer.from(said), logprob });
  const top = Array.from({ length: count }, (_, i) => entry(i === 0 ? text : `${text}${i}`, -text.length / 8 - i));
  return { ...entry(text, -text.length / 8), top };
}

const mockToken = 3;

const words = "mock tokens follow from the prompt alone and never from a model so every answer repeats".split(" ");

/** 8 to 31 words that follow from the prompt, and from the seed unless the request is greedy. */
export function* mockText({ prompt, sampling }: GenerationRequest): Generator<{ text: string }> {
  let state = sampling.temperature > 0 ? sampling.seed : 0;
  const next = (value: number): number => {
    // The mixing step of FNV-1a, 32 bits.
    state = Math.imul(state ^ value, 0x01000193) >>> 0;
    return state >>> 8;
  };
  state ^= 0x811c9dc5;
  for (const token of prompt) next(token);
  const count = 8 + (next(0) % 24);
  for (let i = 0; i < count; i++) yield { text: `${i === 0 ? "" : " "}${words[next(i) % words.length]}` };
}
