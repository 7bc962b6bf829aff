// One request's life in the engine, from the queue to its finish event: its tokens, text, events, usage and timings.
// Why it ended is recorded once; the first cause wins. Knows no batches and no other request.
import { performance } from "node:perf_hooks";
import type {
  AnswerPart,
  AnswerReader,
  GenerationEvent,
  GenerationRequest,
  Measured,
  SampledLogprob,
  ScoredToken,
  SlotInfo,
  Usage,
} from "./engine.ts";
import { EventQueue } from "./event-queue.ts";
import { plainReader } from "./parsed-reader.ts";
import { PrefillStops } from "./prefill-stops.ts";
import type { Sequence } from "./sequences.ts";
import { TextStream, type TokenPieces } from "./text-stream.ts";

/** What every generation of one model shares. */
export type Vocabulary = {
  readonly pieces: TokenPieces;
  readonly specialPieces: TokenPieces;
  readonly endTokens: ReadonlySet<number>;
};

/**
 * Undelivered events that make a sequence wait for its reader: about as many tokens. A reader that keeps up takes each within the
 * step; one that does not already has 1 MiB before it (http/event-stream.ts).
 */
const maxUndelivered = 64;

const newline = 0x0a;

type Sampled = { readonly token: number; readonly score: ScoredToken | undefined };
type Finish = { readonly reason: "stop" | "length" };

export class Generation {
  readonly request: GenerationRequest;
  readonly events: EventQueue<GenerationEvent>;
  /** Counts up with arrival. */
  readonly order: number;
  /** Its LoRA scales: a step computes with one setting. */
  readonly lora: string;
  /** Called once, when the last event or the failure has been handed out. */
  onEnd: () => void = () => {};
  /** The place in the batch; undefined while waiting and after the end. */
  sequence: Sequence | undefined;
  /** Prompt tokens that are in the KV cache. */
  evaluated = 0;
  cachedTokens = 0;
  /** Where its prefill has to stop on its way. */
  stops = new PrefillStops([]);
  /** The last sampled token, the next one to decode. */
  lastToken = -1;
  #sampled = 0;
  #reasoningTokens = 0;
  /** Accepted tokens that are not text yet. */
  #undelivered: Sampled[] = [];
  /** Log-probabilities of tokens whose text is held back. */
  #held: SampledLogprob[] = [];
  /** Of prompt tokens, not handed out yet. */
  #scores: ScoredToken[] = [];
  /** Prompt tokens that the last progress event told of; -1 before the first. */
  #told = -1;
  #finish: Finish | undefined;
  #ended = false;
  #over = false;
  readonly #vocabulary: Vocabulary;
  readonly #text: TextStream;
  readonly #textBeforeNextStep: boolean;
  readonly #reader: AnswerReader;
  #pendingText = "";
  readonly #arrivedMs = performance.now();
  #startedMs = 0;
  #firstTokenMs = 0;
  #lastTokenMs = 0;

  constructor(
    request: GenerationRequest,
    order: number,
    vocabulary: Vocabulary,
    onPull: () => void,
    onReturn: () => void,
  ) {
    this.request = request;
    this.order = order;
    this.lora = request.loraScales?.join() ?? "";
    this.events = new EventQueue(() => this.events.length === maxUndelivered - 1 && onPull(), onReturn);
    this.#vocabulary = vocabulary;
    const stop = [...request.stop, ...(request.answer?.stop ?? [])];
    const preserved = request.answer?.preservedTokens ?? new Set<number>();
    this.#text = new TextStream(vocabulary.pieces, vocabulary.specialPieces, preserved, stop);
    this.#textBeforeNextStep = stop.length > 0;
    this.#reader = request.answer?.createReader() ?? plainReader;
  }

  get prefilling(): boolean {
    return this.evaluated < this.request.prompt.length;
  }
  /** The last token was sampled; its events may still be undelivered. */
  get finished(): boolean {
    return this.#finish !== undefined;
  }
  /** Its reader has been told how it ended. */
  get ended(): boolean {
    return this.#ended;
  }
  /** True while its reader is too slow: the sequence is kept but not decoded. */
  get stalled(): boolean {
    return this.events.length >= maxUndelivered;
  }
  /** Tokens the answer may still have. */
  get remaining(): number {
    return this.request.maxTokens - this.#sampled;
  }
  get promptLeft(): number {
    return this.request.prompt.length - this.evaluated;
  }
  /** The log-probabilities of its prompt are wanted. */
  get scoring(): boolean {
    return this.request.promptLogprobs !== undefined;
  }

  /** Prompt tokens that may go into one step: up to the next stop. */
  get chunkLeft(): number {
    return (this.stops.next ?? this.request.prompt.length) - this.evaluated;
  }

  /** What was to be reused is lost: the prompt is evaluated from its beginning. */
  loseCache(): void {
    this.evaluated = this.cachedTokens = 0;
  }

  /** @param cachedTokens how much of the prompt the sequence holds already */
  start(sequence: Sequence, cachedTokens: number, stops: readonly number[] = []): void {
    this.sequence = sequence;
    this.stops = new PrefillStops(stops);
    this.cachedTokens = this.evaluated = cachedTokens;
    this.#startedMs = performance.now();
    this.request.onStart?.(cachedTokens);
    this.#tellProgress();
  }

  /** The next token of the prompt, from the second one on. */
  score(score: ScoredToken): void {
    this.#scores.push(score);
  }

  /** All of the prompt is in the cache and nothing is to be sampled. */
  finishAfterPrompt(): void {
    this.#firstTokenMs = this.#lastTokenMs = performance.now();
    this.#finish = { reason: "length" };
  }

  /** A token was sampled. Decides whether the answer goes on; turning it into events is left to deliver(). */
  accept(token: number, score?: ScoredToken): void {
    this.#lastTokenMs = performance.now();
    if (this.#sampled === 0) this.#firstTokenMs = this.#lastTokenMs;
    this.#sampled++;
    this.lastToken = token;
    if (this.#vocabulary.endTokens.has(token)) {
      this.#finish = { reason: "stop" };
      return;
    }
    if (this.#textBeforeNextStep) {
      this.#decode({ token, score });
      if (this.#text.stopString !== null) this.#finish = { reason: "stop" };
    } else {
      this.#undelivered.push({ token, score });
    }
    const atLimit = this.#sampled >= this.request.maxTokens || this.#isOutOfTime(token);
    if (!this.#finish && atLimit) this.#finish = { reason: "length" };
  }

  #isOutOfTime(token: number): boolean {
    const { maxDecodeMs } = this.request;
    if (maxDecodeMs === undefined || this.#lastTokenMs - this.#firstTokenMs < maxDecodeMs) return false;
    return this.#vocabulary.pieces.bytes(token).includes(newline);
  }

  /** Hands what was accepted to the reader of the events. Runs while the next step does. */
  deliver(): void {
    if (this.#ended) return;
    this.#tellProgress();
    this.#deliverScores();
    for (const sampled of this.#undelivered) this.#decode(sampled);
    this.#undelivered.length = 0;
    if (this.#finish) this.#pendingText += this.#text.end();
    const text = this.#pendingText;
    this.#pendingText = "";
    const parts = text ? this.#reader.push(text) : [];
    this.#countReasoning(parts);
    if (this.#finish) parts.push(...this.#reader.end());
    const logprobs = this.#releaseLogprobs();
    if (parts.length > 0 || logprobs.length > 0) this.#tellDelta(parts, logprobs);
    if (this.#finish) this.#end(this.#finish);
  }

  #tellDelta(parts: AnswerPart[], logprobs: SampledLogprob[]): void {
    const soFar = this.request.reportTimings && { soFar: this.#soFar };
    if (logprobs.length === 0 && !soFar) this.events.push({ type: "delta", parts });
    else this.events.push({ type: "delta", parts, ...(logprobs.length > 0 && { logprobs }), ...soFar });
  }

  #tellProgress(): void {
    if (!this.request.reportProgress || this.#told === this.evaluated) return;
    this.#told = this.evaluated;
    const { evaluated: processedTokens, cachedTokens } = this;
    const ms = performance.now() - this.#startedMs;
    const promptTokens = this.request.prompt.length;
    this.events.push({ type: "progress", promptTokens, cachedTokens, processedTokens, ms });
  }

  #deliverScores(): void {
    if (this.#scores.length === 0) return;
    this.events.push({ type: "prompt", scores: this.#scores });
    this.#scores = [];
  }

  #decode({ token, score }: Sampled): void {
    if (score) this.#held.push({ ...score, start: this.#text.received });
    this.#pendingText += this.#text.push(token);
  }

  /** Those of tokens whose text has begun to come out; at the end of an answer that no stop string cut, all. */
  #releaseLogprobs(): SampledLogprob[] {
    if (this.#held.length === 0) return [];
    const all = this.#finish !== undefined && this.#text.stopString === null;
    const { released } = this.#text;
    const certain = all ? this.#held.length : this.#held.findIndex(({ start }) => start >= released);
    return this.#held.splice(0, certain === -1 ? this.#held.length : certain);
  }

  /** Ends it with a failure, unless it has ended already. */
  fail(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.events.fail(reason);
    this.onEnd();
    if (!this.sequence) this.over();
  }

  /** It neither has a sequence nor waits for one. Idempotent. */
  over(): void {
    if (this.#over) return;
    this.#over = true;
    this.request.onEnd?.({ ...this.#usage, promptTokens: this.evaluated });
  }

  describe(id: number): SlotInfo {
    return {
      id,
      state: this.prefilling ? "prefill" : "decode",
      caller: this.request.caller ?? null,
      ageMs: performance.now() - this.#startedMs,
      promptTokens: this.request.prompt.length,
      promptTokensProcessed: this.evaluated,
      cachedTokens: this.cachedTokens,
      decodedTokens: this.#sampled,
      remainingTokens: this.remaining,
    };
  }

  #end(finish: Finish): void {
    this.#ended = true;
    this.events.push({
      type: "finish",
      reason: finish.reason,
      stopString: this.#text.stopString,
      ...this.#soFar,
    });
    this.events.end();
    this.onEnd();
  }

  get #soFar(): Measured {
    const timings = {
      queueMs: this.#startedMs - this.#arrivedMs,
      prefillMs: this.#firstTokenMs - this.#startedMs,
      decodeMs: this.#lastTokenMs - this.#firstTokenMs,
    };
    return { usage: this.#usage, timings };
  }

  get #usage(): Usage {
    return {
      promptTokens: this.request.prompt.length,
      cachedTokens: this.cachedTokens,
      completionTokens: this.#sampled,
      reasoningTokens: this.#reasoningTokens,
    };
  }

  /** Every token sampled up to the last one that brought reasoning counts as reasoning, the tags around it included. */
  #countReasoning(parts: readonly AnswerPart[]): void {
    if (parts.some((part) => part.kind === "reasoning")) this.#reasoningTokens = this.#sampled;
  }
}
