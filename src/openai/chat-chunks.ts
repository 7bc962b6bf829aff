// The answer of /v1/chat/completions: chunks of a stream, or one reply with the same text (API.md section 6.6).
import type { Config } from "../config.ts";
import type { AnswerPart, Measured, SampledLogprob } from "../engine/engine.ts";
import {
  type AnswerForm,
  type AnswerHead,
  type Choice,
  type ChoiceEvent,
  type Chunk,
  chunkOf,
  envelopeOf,
  type Finish,
  TextChunk,
} from "./answer.ts";
import { CallDeltas, finishReason, toToolCalls } from "./chat-calls.ts";
import { ToldLogprobs, toChatLogprobs } from "./chat-logprobs.ts";
import { toProgress, toTimings, withTimings } from "./timings.ts";
import type { UsageObject } from "./usage.ts";

export type ChatAnswerOptions = {
  readonly reasoningField: Config["reasoningField"];
  /** Chunks before the usage chunk say `"usage":null`. */
  readonly includeUsage: boolean;
  /** How many there will be. Default 1. */
  readonly choices?: number;
  /** Log-probabilities have llama-server's shape. */
  readonly nativeLogprobs?: boolean;
  /** Timings go to the end of the answer. */
  readonly timings?: boolean;
  /** And on every chunk after the role's. */
  readonly timingsPerToken?: boolean;
  /** What `__verbose` holds, if it was asked for. */
  readonly verbose?: object | undefined;
};

type TextPart = Exclude<AnswerPart, { kind: "tool_call" }>;

/** What one choice's chunks so far decide about its next. */
type ChoiceState = {
  begun: boolean;
  /** Chunks of nothing but text, by the part's kind. */
  readonly texts: Partial<Record<TextPart["kind"], TextChunk>>;
  readonly calls: CallDeltas;
  logprobs: SampledLogprob[];
  /** Of an answer that is not streamed. */
  readonly told: ToldLogprobs;
};

export class ChatAnswer implements AnswerForm {
  readonly #head: AnswerHead;
  readonly #options: ChatAnswerOptions;
  readonly #choices = new Map<number, ChoiceState>();
  #unfinished: number;
  #firstFinish: Finish | undefined;

  constructor(head: AnswerHead, options: ChatAnswerOptions) {
    this.#head = head;
    this.#options = options;
    this.#unfinished = options.choices ?? 1;
  }

  chunks({ choice, event }: ChoiceEvent): Chunk[] {
    const state = this.#stateOf(choice);
    if (event.type === "finish") return this.#finish(choice, state, event);
    if (event.type === "prompt") return [];
    if (event.type === "progress") {
      const progress = toProgress(event, this.#options.timingsPerToken ?? false);
      return [...this.#role(choice, state), { ...this.#chunk(choice, {}), ...progress }];
    }
    const [part] = event.parts;
    const isText = event.parts.length === 1 && part!.kind !== "tool_call" && !event.logprobs && !event.soFar;
    if (isText && state.begun && state.logprobs.length === 0) return [this.#text(choice, state, part as TextPart)];
    if (event.logprobs) state.logprobs.push(...event.logprobs);
    const deltas: object[] = [];
    for (const part of event.parts) this.#addDeltas(part, state.calls, deltas);
    return deltas.length === 0 ? [] : this.#send(choice, state, deltas, event.soFar);
  }

  #text(choice: number, { texts }: ChoiceState, { kind, text }: TextPart): string {
    texts[kind] ??= new TextChunk((any) => this.#chunk(choice, this.#textDelta({ kind, text: any })));
    return texts[kind].of(text);
  }

  observe({ choice, event }: ChoiceEvent): void {
    if (event.type === "delta") this.#stateOf(choice).told.add(event.logprobs);
  }

  usageChunk(usage: UsageObject): object {
    return { ...envelopeOf(this.#head, "chat.completion.chunk"), choices: [], usage, ...this.#report() };
  }

  reply(choices: readonly Choice[], usage: UsageObject): object {
    this.#firstFinish = choices[0]?.finish;
    const rendered = choices.map((choice, index) => this.#whole(choice, index));
    return { ...envelopeOf(this.#head, "chat.completion"), choices: rendered, usage, ...this.#report() };
  }

  #whole({ content, reasoning, parts, finish }: Choice, index: number): object {
    const calls = toToolCalls(parts, finish);
    return {
      index,
      message: {
        role: "assistant",
        content: calls.length > 0 && content === "" ? null : content,
        refusal: null,
        ...(reasoning && this.#reasoning(reasoning)),
        ...(calls.length > 0 && { tool_calls: calls }),
      },
      logprobs: this.#stateOf(index).told.whole(),
      finish_reason: finishReason(
        finish,
        calls.map((call) => call.function.arguments),
      ),
    };
  }

  #stateOf(choice: number): ChoiceState {
    let state = this.#choices.get(choice);
    if (!state) {
      const told = new ToldLogprobs(this.#options.nativeLogprobs ?? false);
      state = { begun: false, texts: {}, calls: new CallDeltas(), logprobs: [], told };
      this.#choices.set(choice, state);
    }
    return state;
  }

  /** Log-probabilities ride on the first chunk. */
  #send(choice: number, state: ChoiceState, deltas: readonly object[], soFar: Measured | undefined): object[] {
    const logprobs = this.#logprobs(state.logprobs);
    state.logprobs = [];
    const chunks = deltas.map((delta, index) =>
      this.#timed(this.#chunk(choice, delta, index === 0 ? logprobs : null), soFar),
    );
    return state.begun ? chunks : [...this.#role(choice, state), ...chunks];
  }

  /** Comes once. */
  #role(choice: number, state: ChoiceState): object[] {
    if (state.begun) return [];
    state.begun = true;
    return [this.#chunk(choice, { role: "assistant", content: "" })];
  }

  #timed(chunk: object, measured: Measured | undefined): object {
    return withTimings(chunk, this.#options.timingsPerToken && measured);
  }

  #finish(choice: number, state: ChoiceState, finish: Finish): object[] {
    if (choice === 0) this.#firstFinish = finish;
    const rest = state.calls.end(finish).map((call): object => ({ tool_calls: [call] }));
    // Tokens without text of their own, and no text after them.
    if (rest.length === 0 && state.logprobs.length > 0) rest.push({});
    const chunks = this.#send(choice, state, rest, finish);
    const reason = state.calls.reason(finish);
    const last = this.#timed(this.#chunk(choice, {}, null, reason), finish);
    this.#unfinished -= 1;
    const isEnd = this.#unfinished === 0 && !this.#options.includeUsage;
    return [...chunks, isEnd ? { ...last, ...this.#report() } : last];
  }

  #addDeltas(part: AnswerPart, calls: CallDeltas, deltas: object[]): void {
    if (part.kind === "tool_call") for (const call of calls.of(part)) deltas.push({ tool_calls: [call] });
    else deltas.push(this.#textDelta(part));
  }

  #textDelta({ kind, text }: TextPart): object {
    return kind === "content" ? { content: text } : this.#reasoning(text);
  }

  #chunk(index: number, delta: object, logprobs: object | null = null, finishReason: string | null = null): object {
    const choice = { index, delta, logprobs, finish_reason: finishReason };
    return chunkOf(this.#head, "chat.completion.chunk", choice, this.#options.includeUsage);
  }

  #logprobs(entries: readonly SampledLogprob[]): object | null {
    return toChatLogprobs(entries, this.#options.nativeLogprobs ?? false);
  }

  #reasoning(text: string): object {
    const { reasoningField } = this.#options;
    if (reasoningField === "both") return { reasoning_content: text, reasoning: text };
    return reasoningField === "reasoning" ? { reasoning: text } : { reasoning_content: text };
  }

  /** What was asked for about the answer's making, at its end. */
  #report(): object {
    const { timings, verbose } = this.#options;
    return {
      ...(timings && this.#firstFinish && { timings: toTimings(this.#firstFinish) }),
      ...(verbose && { __verbose: verbose }),
    };
  }
}
