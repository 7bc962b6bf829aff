// The answer of /v1/completions: objects of a stream, or one reply with the same text (API.md section 7).
import type { AnswerForm, AnswerHead, Choice, ChoiceEvent } from "./answer.ts";
import type { UsageObject } from "./usage.ts";

export class CompletionAnswer implements AnswerForm {
  readonly #head: AnswerHead;
  readonly #includeUsage: boolean;

  /** @param includeUsage objects before the usage object say `"usage":null` */
  constructor(head: AnswerHead, includeUsage: boolean) {
    this.#head = head;
    this.#includeUsage = includeUsage;
  }

  chunks({ choice, event }: ChoiceEvent): object[] {
    if (event.type === "finish") return [this.#chunk(choice, "", event.reason)];
    return event.parts.flatMap((part) => (part.kind === "content" ? [this.#chunk(choice, part.text, null)] : []));
  }

  usageChunk(usage: UsageObject): object {
    return { ...this.#envelope(), choices: [], usage };
  }

  reply(choices: readonly Choice[], usage: UsageObject): object {
    const rendered = choices.map(({ content, finish }, index) => renderChoice(index, content, finish.reason));
    return { ...this.#envelope(), choices: rendered, usage };
  }

  #envelope() {
    const { id, created, model, fingerprint } = this.#head;
    return { id, object: "text_completion", created, model, system_fingerprint: fingerprint };
  }

  #chunk(index: number, text: string, finishReason: string | null): object {
    const choices = [renderChoice(index, text, finishReason)];
    return { ...this.#envelope(), choices, ...(this.#includeUsage && { usage: null }) };
  }
}

function renderChoice(index: number, text: string, finishReason: string | null): object {
  return { index, text, logprobs: null, finish_reason: finishReason };
}
