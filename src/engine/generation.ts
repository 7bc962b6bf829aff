// One request's life in the engine, from the queue to its finish event: its tokens, text, events, usage and timings.
// Why it ended is recorded once; the first cause wins. Knows no batches and no other request.
import { performance } from "node:perf_hooks";
import { plainReader } from "./chat.ts";
import type { AnswerPart, AnswerReader, GenerationEvent, GenerationRequest, SlotInfo } from "./engine.ts";
import { EventQueue } from "./event-queue.ts";
import type { Sequence } from "./sequences.ts";
import { TextStream, type TokenPieces } from "./text-stream.ts";

/** What every generation of one model shares. */
export type Vocabulary = {
  readonly pieces: TokenPieces;
  readonly specialPieces: TokenPieces;
  readonly endTokens: ReadonlySet<number>;
};

/** Undelivered events that make a sequence wait for its reader: about as many tokens. */
const maxUndelivered = 4096;

type Finish = { readonly reason: "stop" | "length" };

export class Generation {
  readonly request: GenerationRequest;
  readonly events: EventQueue<GenerationEvent>;
  /** Counts up with arrival. */
  readonly order: number;
  /** Called once, when the last event or the failure has been handed out. */
  onEnd: () => void = () => {};
  /** The place in the batch; undefined while waiting and after the end. */
  sequence: Sequence | undefined;
  /** Prompt tokens that are in the KV cache. */
  evaluated = 0;
  cachedTokens = 0;
  /** The last sampled token, the next one to decode. */
  lastToken = -1;
  #sampled = 0;
  #reasoningTokens = 0;
  #undelivered: number[] = [];
  #finish: Finish | undefined;
  #ended = false;
  readonly #endTokens: ReadonlySet<number>;
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
    this.events = new EventQueue(onPull, onReturn);
    this.#endTokens = vocabulary.endTokens;
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
  get promptLeft(): number {
    return this.request.prompt.length - this.evaluated;
  }

  /** @param cachedTokens how much of the prompt the sequence holds already */
  start(sequence: Sequence, cachedTokens: number): void {
    this.sequence = sequence;
    this.cachedTokens = this.evaluated = cachedTokens;
    this.#startedMs = performance.now();
  }

  /** All of the prompt is in the cache and nothing is to be sampled. */
  finishAfterPrompt(): void {
    this.#firstTokenMs = this.#lastTokenMs = performance.now();
    this.#finish = { reason: "length" };
  }

  /** A token was sampled. Decides whether the answer goes on; turning it into events is left to deliver(). */
  accept(token: number): void {
    this.#lastTokenMs = performance.now();
    if (this.#sampled === 0) this.#firstTokenMs = this.#lastTokenMs;
    this.#sampled++;
    this.lastToken = token;
    if (this.#endTokens.has(token)) {
      this.#finish = { reason: "stop" };
      return;
    }
    if (this.#textBeforeNextStep) {
      this.#pendingText += this.#text.push(token);
      if (this.#text.stopString !== null) this.#finish = { reason: "stop" };
    } else {
      this.#undelivered.push(token);
    }
    if (!this.#finish && this.#sampled >= this.request.maxTokens) this.#finish = { reason: "length" };
  }

  /** Hands what was accepted to the reader of the events. Runs while the next step does. */
  deliver(): void {
    if (this.#ended) return;
    let text = this.#pendingText;
    this.#pendingText = "";
    for (const token of this.#undelivered) text += this.#text.push(token);
    this.#undelivered.length = 0;
    if (this.#finish) text += this.#text.end();
    const parts = text ? this.#reader.push(text) : [];
    this.#countReasoning(parts);
    if (this.#finish) parts.push(...this.#reader.end());
    if (parts.length > 0) this.events.push({ type: "delta", parts });
    if (this.#finish) this.#end(this.#finish);
  }

  /** Ends it with a failure, unless it has ended already. */
  fail(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.events.fail(reason);
    this.onEnd();
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
      remainingTokens: this.request.maxTokens - this.#sampled,
    };
  }

  #end(finish: Finish): void {
    this.#ended = true;
    this.events.push({
      type: "finish",
      reason: finish.reason,
      stopString: this.#text.stopString,
      usage: {
        promptTokens: this.request.prompt.length,
        cachedTokens: this.cachedTokens,
        completionTokens: this.#sampled,
        reasoningTokens: this.#reasoningTokens,
      },
      timings: {
        queueMs: this.#startedMs - this.#arrivedMs,
        prefillMs: this.#firstTokenMs - this.#startedMs,
        decodeMs: this.#lastTokenMs - this.#firstTokenMs,
      },
    });
    this.events.end();
    this.onEnd();
  }

  /** Every token sampled up to the last one that brought reasoning counts as reasoning, the tags around it included. */
  #countReasoning(parts: readonly AnswerPart[]): void {
    if (parts.some((part) => part.kind === "reasoning")) this.#reasoningTokens = this.#sampled;
  }
}
