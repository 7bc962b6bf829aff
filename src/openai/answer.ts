// What both routes' answers are made from: who answers, the events of every choice, and how they become chunks or one reply.
import type { GenerationEvent, ModelInfo } from "../engine/engine.ts";
import { newId } from "./ids.ts";
import type { UsageObject } from "./usage.ts";

export type Finish = Extract<GenerationEvent, { type: "finish" }>;

/** An event of one choice. */
export type ChoiceEvent = { readonly choice: number; readonly event: GenerationEvent };

/** One answer, complete. */
export type Choice = { readonly content: string; readonly reasoning: string; readonly finish: Finish };

/** The members that the reply or every chunk of one answer share. */
export type AnswerHead = {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly fingerprint: string;
};

/** Renders one request's answer, as chunks or as one reply. Holds what the chunks so far decide about the next. */
export interface AnswerForm {
  /** What goes out for one event, in order; at least one chunk. */
  chunks(item: ChoiceEvent): object[];
  /** The chunk after all others, when usage was asked for. */
  usageChunk(usage: UsageObject): object;
  /** @param choices by choice index */
  reply(choices: readonly Choice[], usage: UsageObject): object;
}

export function createHead(prefix: string, model: ModelInfo): AnswerHead {
  const created = Math.floor(Date.now() / 1000);
  return { id: newId(prefix), created, model: model.name, fingerprint: model.buildId };
}

/** Folds the events of one choice. */
export class ChoiceFold {
  #content = "";
  #reasoning = "";
  #finish: Finish | undefined;

  add(event: GenerationEvent): void {
    if (event.type === "finish") this.#finish = event;
    else
      for (const { kind, text } of event.parts) {
        if (kind === "content") this.#content += text;
        else this.#reasoning += text;
      }
  }

  /** @throws Error when the choice has not finished */
  result(): Choice {
    if (!this.#finish) throw new Error("a choice ended without a finish event");
    return { content: this.#content, reasoning: this.#reasoning, finish: this.#finish };
  }
}
