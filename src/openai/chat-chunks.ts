// The answer of /v1/chat/completions: chunks of a stream, or one reply with the same text (API.md section 6.6).
import type { Config } from "../config.ts";
import type { AnswerPart, Measured, SampledLogprob } from "../engine/engine.ts";
import {
  type AnswerForm,
  type AnswerHead,
  type Choice,
  type ChoiceEvent,
  type Chunk,
  type Finish,
  TextChunk,
} from "./answer.ts";
import { CallDeltas, finishReason, toToolCalls } from "./chat-calls.ts";
import { ToldLogprobs, toChatLogprobs } from "./chat-logprobs.ts";
import { Envelope, type EnvelopeOptions } from "./envelope.ts";
import { toProgress } from "./timings.ts";
import type { UsageObject } from "./usage.ts";

export type ChatAnswerOptions = EnvelopeOptions & {
  readonly reasoningField: Config["reasoningField"];
  /** How many there will be. Default 1. */
  readonly choices?: number;
  /** Log-probabilities have llama-server's shape. */
  readonly nativeLogprobs?: boolean;
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

const names = { chunk: "chat.completion.chunk", reply: "chat.completion" };

export class ChatAnswer implements AnswerForm {
  readonly #envelope: Envelope;
  readonly #options: ChatAnswerOptions;
  readonly #choices = new Map<number, ChoiceState>();

  constructor(head: AnswerHead, options: ChatAnswerOptions) {
    this.#envelope = new Envelope(head, names, options.choices ?? 1, options);
    this.#options = options;
  }

  chunks({ choice, event }: ChoiceEvent): Chunk[] {
    const state = this.#stateOf(choice);
    if (event.type === "finish") return this.#finish(choice, state, event);
    if (event.type === "prompt") return [];
    if (event.type === "progress") {
      const progress = toProgress(event, this.#options.timingsPerToken ?? false);
      return [...this.#role(choice, state), { ...this.#envelope.chunk(toChoice(choice, {})), ...progress }];
    }
    const only = event.parts.length === 1 && !event.logprobs && !event.soFar ? event.parts[0]! : undefined;
    const isPlain = only && state.begun && state.logprobs.length === 0;
    if (isPlain && only.kind !== "tool_call") return [this.#text(choice, state, only)];
    if (event.logprobs) state.logprobs.push(...event.logprobs);
    const deltas: object[] = [];
    for (const part of event.parts) this.#addDeltas(part, state.calls, deltas);
    return deltas.length === 0 ? [] : this.#send(choice, state, deltas, event.soFar);
  }

  #text(choice: number, { texts }: ChoiceState, { kind, text }: TextPart): string {
    texts[kind] ??= new TextChunk((any) =>
      this.#envelope.chunk(toChoice(choice, this.#textDelta({ kind, text: any }))),
    );
    return texts[kind].of(text);
  }

  observe({ choice, event }: ChoiceEvent): void {
    if (event.type === "delta") this.#stateOf(choice).told.add(event.logprobs);
  }

  usageChunk(usage: UsageObject): object {
    return this.#envelope.usageChunk(usage);
  }

  reply(choices: readonly Choice[], usage: UsageObject): object {
    const rendered = choices.map((choice, index) => this.#whole(choice, index));
    return this.#envelope.reply(rendered, usage, choices[0]?.finish);
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
      this.#envelope.chunk(toChoice(choice, delta, index === 0 ? logprobs : null), soFar),
    );
    return state.begun ? chunks : [...this.#role(choice, state), ...chunks];
  }

  /** Comes once. */
  #role(choice: number, state: ChoiceState): object[] {
    if (state.begun) return [];
    state.begun = true;
    return [this.#envelope.chunk(toChoice(choice, { role: "assistant", content: "" }))];
  }

  #finish(choice: number, state: ChoiceState, finish: Finish): object[] {
    const rest = state.calls.end(finish).map((call): object => ({ tool_calls: [call] }));
    // Tokens without text of their own, and no text after them.
    if (rest.length === 0 && state.logprobs.length > 0) rest.push({});
    const chunks = this.#send(choice, state, rest, finish);
    const last = toChoice(choice, {}, null, state.calls.reason(finish));
    return [...chunks, this.#envelope.last(last, choice, finish)];
  }

  #addDeltas(part: AnswerPart, calls: CallDeltas, deltas: object[]): void {
    if (part.kind === "tool_call") for (const call of calls.of(part)) deltas.push({ tool_calls: [call] });
    else deltas.push(this.#textDelta(part));
  }

  #textDelta({ kind, text }: TextPart): object {
    return kind === "content" ? { content: text } : this.#reasoning(text);
  }

  #logprobs(entries: readonly SampledLogprob[]): object | null {
    return toChatLogprobs(entries, this.#options.nativeLogprobs ?? false);
  }

  #reasoning(text: string): object {
    const { reasoningField } = this.#options;
    if (reasoningField === "both") return { reasoning_content: text, reasoning: text };
    return reasoningField === "reasoning" ? { reasoning: text } : { reasoning_content: text };
  }
}

function toChoice(index: number, delta: object, logprobs: object | null = null, finishReason: string | null = null) {
  return { index, delta, logprobs, finish_reason: finishReason };
}
