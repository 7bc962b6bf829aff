// The answer of /v1/chat/completions: chunks of a stream, or one reply with the same text (API.md section 6.6).
import type { Config } from "../config.ts";
import type { AnswerPart } from "../engine/engine.ts";
import type { AnswerForm, AnswerHead, Choice, ChoiceEvent } from "./answer.ts";
import type { UsageObject } from "./usage.ts";

type ReasoningField = Config["reasoningField"];

export class ChatAnswer implements AnswerForm {
  readonly #head: AnswerHead;
  readonly #reasoningField: ReasoningField;
  readonly #includeUsage: boolean;
  /** Choices whose role has been sent. */
  readonly #begun = new Set<number>();

  /** @param includeUsage chunks before the usage chunk say `"usage":null` */
  constructor(head: AnswerHead, reasoningField: ReasoningField, includeUsage: boolean) {
    this.#head = head;
    this.#reasoningField = reasoningField;
    this.#includeUsage = includeUsage;
  }

  chunks({ choice, event }: ChoiceEvent): object[] {
    const chunks: object[] = [];
    if (!this.#begun.has(choice)) {
      this.#begun.add(choice);
      chunks.push(this.#chunk(choice, { role: "assistant", content: "" }, null));
    }
    if (event.type === "finish") chunks.push(this.#chunk(choice, {}, event.reason));
    else for (const part of event.parts) chunks.push(this.#chunk(choice, this.#delta(part), null));
    return chunks;
  }

  usageChunk(usage: UsageObject): object {
    return { ...this.#envelope("chat.completion.chunk"), choices: [], usage };
  }

  reply(choices: readonly Choice[], usage: UsageObject): object {
    return {
      ...this.#envelope("chat.completion"),
      choices: choices.map(({ content, reasoning, finish }, index) => ({
        index,
        message: { role: "assistant", content, refusal: null, ...(reasoning && this.#reasoning(reasoning)) },
        logprobs: null,
        finish_reason: finish.reason,
      })),
      usage,
    };
  }

  #envelope(object: string) {
    const { id, created, model, fingerprint } = this.#head;
    return { id, object, created, model, system_fingerprint: fingerprint };
  }

  #chunk(index: number, delta: object, finishReason: string | null): object {
    const choices = [{ index, delta, logprobs: null, finish_reason: finishReason }];
    return { ...this.#envelope("chat.completion.chunk"), choices, ...(this.#includeUsage && { usage: null }) };
  }

  #delta({ kind, text }: AnswerPart): object {
    return kind === "content" ? { content: text } : this.#reasoning(text);
  }

  #reasoning(text: string): object {
    if (this.#reasoningField === "both") return { reasoning_content: text, reasoning: text };
    return { [this.#reasoningField]: text };
  }
}
