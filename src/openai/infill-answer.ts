// The answer of /infill in llama-server's native shape: objects of a stream whose last one is the whole without its text, or the whole
// (API.md section 13).
import type { SampledLogprob } from "../engine/engine.ts";
import type { AnswerForm, Choice, ChoiceEvent, Finish } from "./answer.ts";
import { type ChatLogprobs, ToldLogprobs, toChatLogprobs } from "./chat-logprobs.ts";
import { toProgress, toTimings, withTimings } from "./timings.ts";

export type InfillAnswerOptions = {
  /** The served model's name. */
  readonly model: string;
  /** As the model reads it. */
  readonly prompt: string;
  readonly promptTokens: number;
  /** As they took effect. */
  readonly generationSettings: object;
  /** On every object of a stream. */
  readonly timingsPerToken: boolean;
};

/** Which sequence it has is not told. */
const idSlot = -1;

export class InfillAnswer implements AnswerForm {
  readonly #options: InfillAnswerOptions;
  #hasNewLine = false;
  /** Of tokens that had no text of their own yet. */
  #held: SampledLogprob[] = [];
  /** Of an answer that is not streamed. */
  readonly #told = new ToldLogprobs(true);

  constructor(options: InfillAnswerOptions) {
    this.#options = options;
  }

  chunks({ event }: ChoiceEvent): object[] {
    switch (event.type) {
      case "prompt":
        return [];
      case "progress":
        return [{ ...this.#piece("", 0), ...toProgress(event, this.#options.timingsPerToken) }];
      case "finish":
        return [this.#whole("", toChatLogprobs(this.#takeHeld(), true), event)];
      case "delta": {
        const text = event.parts.map((part) => (part.kind === "content" ? part.text : "")).join("");
        this.#held.push(...(event.logprobs ?? []));
        this.#hasNewLine ||= text.includes("\n");
        if (text === "") return [];
        const piece = this.#piece(text, event.soFar?.usage.completionTokens ?? 0);
        const told = { ...piece, ...probabilities(toChatLogprobs(this.#takeHeld(), true)) };
        return [withTimings(told, this.#options.timingsPerToken && event.soFar)];
      }
    }
  }

  observe({ event }: ChoiceEvent): void {
    if (event.type === "delta") this.#told.add(event.logprobs);
  }

  usageChunk(): never {
    throw new Error("an infill tells its usage in its last object");
  }

  reply([choice]: readonly Choice[]): object {
    const { content, finish } = choice!;
    this.#hasNewLine = content.includes("\n");
    return this.#whole(content, this.#told.whole(), finish);
  }

  #takeHeld(): readonly SampledLogprob[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }

  #piece(content: string, predicted: number): object {
    const counts = { tokens_predicted: predicted, tokens_evaluated: this.#options.promptTokens };
    return { index: 0, content, tokens: [], stop: false, id_slot: idSlot, ...counts };
  }

  #whole(content: string, logprobs: ChatLogprobs | null, finish: Finish): object {
    const { model, prompt, generationSettings } = this.#options;
    const { promptTokens, completionTokens } = finish.usage;
    return {
      index: 0,
      content,
      tokens: [],
      id_slot: idSlot,
      stop: true,
      model,
      tokens_predicted: completionTokens,
      tokens_evaluated: promptTokens,
      generation_settings: generationSettings,
      prompt,
      has_new_line: this.#hasNewLine,
      truncated: false,
      stop_type: stopType(finish),
      stopping_word: finish.stopString ?? "",
      // The last sampled token is not decoded any more.
      tokens_cached: promptTokens + Math.max(0, completionTokens - 1),
      timings: toTimings(finish),
      ...probabilities(logprobs),
    };
  }
}

function stopType({ reason, stopString }: Finish): "eos" | "limit" | "word" {
  if (reason === "length") return "limit";
  return stopString === null ? "eos" : "word";
}

function probabilities(told: ChatLogprobs | null): { completion_probabilities?: readonly object[] } {
  return told ? { completion_probabilities: told.content } : {};
}
