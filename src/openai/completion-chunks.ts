// The answer of /v1/completions: objects of a stream, or one reply with the same text (API.md section 7).
import type { GenerationEvent, Measured, SampledLogprob } from "../engine/engine.ts";
import {
  type AnswerForm,
  type AnswerHead,
  type Choice,
  type ChoiceEvent,
  type Chunk,
  type Finish,
  TextChunk,
} from "./answer.ts";
import { ToldLogprobs, toChatLogprobs } from "./chat-logprobs.ts";
import { ChoiceLogprobs, type Echo, joinLogprobs, type LegacyLogprobs } from "./completion-logprobs.ts";
import { Envelope, type EnvelopeOptions } from "./envelope.ts";
import { toProgress } from "./timings.ts";
import type { UsageObject } from "./usage.ts";

export type CompletionAnswerOptions = EnvelopeOptions & {
  /** How many there will be. */
  readonly choices: number;
  /** Of each prompt. */
  readonly n: number;
  /** Alternatives for each token in OpenAI's shape. */
  readonly logprobs?: number | undefined;
  /** Log-probabilities come in llama-server's shape instead. */
  readonly nativeLogprobs?: boolean;
  /** By prompt: what goes before its answers. */
  readonly echo?: readonly Echo[] | undefined;
};

/** What one choice's events so far decide about its next object. */
type ChoiceState = {
  begun: boolean;
  /** Objects of nothing but text. */
  text?: TextChunk;
  readonly echo: Echo | undefined;
  readonly legacy: ChoiceLogprobs | undefined;
  /** Of tokens that had no text of their own yet. */
  held: SampledLogprob[];
  /** Of an answer that is not streamed. */
  readonly told: (LegacyLogprobs | null)[];
  /** The same in llama-server's shape. */
  readonly native: ToldLogprobs;
};

type Delta = Extract<GenerationEvent, { type: "delta" }>;

type ChoiceFields = { readonly text: string; readonly logprobs?: object | null; readonly finishReason?: string };

const names = { chunk: "text_completion", reply: "text_completion" };

export class CompletionAnswer implements AnswerForm {
  readonly #envelope: Envelope;
  readonly #options: CompletionAnswerOptions;
  readonly #states = new Map<number, ChoiceState>();

  constructor(head: AnswerHead, options: CompletionAnswerOptions) {
    this.#envelope = new Envelope(head, names, options.choices, options);
    this.#options = options;
  }

  chunks({ choice, event }: ChoiceEvent): Chunk[] {
    const state = this.#stateOf(choice);
    switch (event.type) {
      case "progress": {
        const progress = toProgress(event, this.#options.timingsPerToken ?? false);
        return [{ ...this.#envelope.chunk(toChoice(choice, { text: "" })), ...progress }];
      }
      case "prompt":
        state.legacy?.addPrompt(event.scores);
        return [];
      case "finish":
        return [...this.#begin(choice, state, event), ...this.#finish(choice, state, event)];
      case "delta": {
        const text = this.#textOf(event, state);
        const begin = this.#begin(choice, state, event.soFar);
        return text === "" ? begin : [...begin, this.#piece(choice, state, text, event.soFar)];
      }
    }
  }

  /** Log-probabilities are rendered as they come: all at once they would take the main thread for too long. */
  observe({ choice, event }: ChoiceEvent): void {
    const state = this.#stateOf(choice);
    if (!state.legacy) {
      if (event.type === "delta") state.native.add(event.logprobs);
      return;
    }
    if (event.type === "prompt") state.legacy.addPrompt(event.scores);
    const text = event.type === "delta" ? this.#textOf(event, state) : "";
    if (text === "" && event.type !== "finish") return;
    state.told.push(state.legacy.ofAnswer(text, state.held));
    state.held = [];
  }

  #textOf({ parts, logprobs = [] }: Delta, { held }: ChoiceState): string {
    if (logprobs.length > 0) held.push(...logprobs);
    let text = "";
    for (const part of parts) if (part.kind === "content") text += part.text;
    return text;
  }

  usageChunk(usage: UsageObject): object {
    return this.#envelope.usageChunk(usage);
  }

  reply(choices: readonly Choice[], usage: UsageObject): object {
    const rendered = choices.map((choice, index) => this.#whole(choice, index));
    return this.#envelope.reply(rendered, usage, choices[0]?.finish);
  }

  #whole({ content, finish }: Choice, index: number): object {
    const { echo, legacy, told: answer, native } = this.#stateOf(index);
    const prompt = echo && legacy ? legacy.ofEcho().map((stretch) => stretch.logprobs) : [];
    const told = legacy ? joinLogprobs([...prompt, ...answer]) : native.whole();
    return toChoice(index, { text: (echo?.text ?? "") + content, logprobs: told, finishReason: finish.reason });
  }

  #stateOf(choice: number): ChoiceState {
    let state = this.#states.get(choice);
    if (!state) {
      const { n, logprobs } = this.#options;
      const echo = this.#options.echo?.[Math.floor(choice / n)];
      const legacy = logprobs === undefined ? undefined : new ChoiceLogprobs(logprobs, echo);
      state = { begun: false, echo, legacy, held: [], told: [], native: new ToldLogprobs(true) };
      this.#states.set(choice, state);
    }
    return state;
  }

  /** The prompt goes first, once all of it is known. */
  #begin(choice: number, state: ChoiceState, soFar: Measured | undefined): object[] {
    const { begun, echo, legacy } = state;
    state.begun = true;
    if (begun || !echo) return [];
    const stretches = legacy?.ofEcho() ?? [{ text: echo.text }];
    return stretches.map((stretch) => this.#envelope.chunk(toChoice(choice, stretch), soFar));
  }

  #piece(choice: number, state: ChoiceState, text: string, soFar: Measured | undefined): Chunk {
    const entries = state.held;
    if (!state.legacy && entries.length === 0 && !soFar) {
      state.text ??= new TextChunk((any) => this.#envelope.chunk(toChoice(choice, { text: any })));
      return state.text.of(text);
    }
    state.held = [];
    const logprobs = state.legacy ? state.legacy.ofAnswer(text, entries) : toChatLogprobs(entries, true);
    return this.#envelope.chunk(toChoice(choice, { text, logprobs }), soFar);
  }

  #finish(choice: number, state: ChoiceState, finish: Finish): Chunk[] {
    // Tokens without text of their own, and no text after them.
    const rest = state.held.length > 0 ? [this.#piece(choice, state, "", finish)] : [];
    const last = toChoice(choice, { text: "", finishReason: finish.reason });
    return [...rest, this.#envelope.last(last, choice, finish)];
  }
}

function toChoice(index: number, { text, logprobs = null, finishReason }: ChoiceFields): object {
  return { index, text, logprobs, finish_reason: finishReason ?? null };
}
