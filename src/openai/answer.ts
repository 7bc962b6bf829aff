// What both routes' answers are made from: who answers, the events of every choice, and how they become chunks or one reply.
import type { AnswerPart, GenerationEvent, ModelInfo } from "../engine/engine.ts";
import { newId } from "./ids.ts";
import type { UsageObject } from "./usage.ts";

export type Finish = Extract<GenerationEvent, { type: "finish" }>;

/** An event of one choice. */
export type ChoiceEvent = { readonly choice: number; readonly event: GenerationEvent };

/** One answer, complete. */
export type Choice = {
  readonly content: string;
  readonly reasoning: string;
  /** All of it in order of generation; neighbours of one kind, or of one call, are joined. */
  readonly parts: readonly AnswerPart[];
  readonly finish: Finish;
};

/** The members that the reply or every chunk of one answer share. */
export type AnswerHead = {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly fingerprint: string;
};

/** An event of a stream: a value, or JSON that is text already. */
export type Chunk = object | string;

/**
 * The JSON of chunks that differ in one text alone. There is one for every token, so what is around the text is made once.
 * @param make gives the chunk of a text, which is in it as one value or several
 */
export class TextChunk {
  readonly #around: readonly string[];

  constructor(make: (text: string) => object) {
    // No other text of a chunk has a NUL.
    const mark = "\0";
    this.#around = JSON.stringify(make(mark)).split(JSON.stringify(mark));
  }

  of(text: string): string {
    return this.#around.join(JSON.stringify(text));
  }
}

/** Renders one request's answer, as chunks or as one reply. Holds what the chunks so far decide about the next. */
export interface AnswerForm {
  /** What goes out for one event, in order; none while it only brings what a later one will tell. */
  chunks(item: ChoiceEvent): Chunk[];
  /** The chunk after all others, when usage was asked for. */
  usageChunk(usage: UsageObject): object;
  /** Gets every event of an answer that is not streamed, for a form that makes its reply bit by bit: log-probabilities are many. */
  observe?(item: ChoiceEvent): void;
  /** @param choices by choice index */
  reply(choices: readonly Choice[], usage: UsageObject): object;
}

export function createHead(prefix: string, model: ModelInfo): AnswerHead {
  const created = Math.floor(Date.now() / 1000);
  return { id: newId(prefix), created, model: model.name, fingerprint: model.buildId };
}

/** Folds the events of one choice. */
export class ChoiceFold {
  readonly #parts: AnswerPart[] = [];
  #finish: Finish | undefined;

  /** Of the answer so far, as in Choice. */
  get parts(): readonly AnswerPart[] {
    return this.#parts;
  }

  add(event: GenerationEvent): void {
    if (event.type === "finish") this.#finish = event;
    if (event.type !== "delta") return;
    for (const part of event.parts) this.#append(part);
  }

  /** @throws Error when the choice has not finished */
  result(): Choice {
    if (!this.#finish) throw new Error("a choice ended without a finish event");
    const textOf = (kind: "content" | "reasoning") =>
      this.#parts.map((part) => (part.kind === kind ? part.text : "")).join("");
    const [content, reasoning] = [textOf("content"), textOf("reasoning")];
    return { content, reasoning, parts: this.#parts, finish: this.#finish };
  }

  #append(part: AnswerPart): void {
    const last = this.#parts.length - 1;
    const joined = this.#parts[last] && joinParts(this.#parts[last], part);
    if (joined) this.#parts[last] = joined;
    else this.#parts.push(part);
  }
}

/** undefined when they are pieces of two different things. */
function joinParts(before: AnswerPart, after: AnswerPart): AnswerPart | undefined {
  if (before.kind === "tool_call") {
    if (after.kind !== "tool_call" || after.index !== before.index) return undefined;
    return { ...before, arguments: before.arguments + after.arguments };
  }
  return after.kind === before.kind ? { ...before, text: before.text + after.text } : undefined;
}
