// Takes an answer's text apart as it comes: reasoning, content and calls. The parsers are llama.cpp's own.
import type { Addon, NativeAnswerDelta } from "./addon.ts";
import type { AnswerPart, AnswerReader } from "./engine.ts";

/** All text is content. Holds no state, so all answers share it. */
export const plainReader: AnswerReader = {
  push: (text) => (text ? [{ kind: "content", text }] : []),
  end: () => [],
};

type Parser = InstanceType<Addon["AnswerParser"]>;

/**
 * Splits reasoning, content and calls. llama.cpp's parser sees the whole text anew with every push, so without calls it is asked
 * only until the content has begun: what follows then is content as it stands. So is what it cannot read, from there to the end: a
 * model may write what its template knows nothing of.
 */
export class ParsedReader implements AnswerReader {
  readonly #parser: Parser;
  readonly #calls: boolean;
  /** What follows is content as it stands. */
  #plain = false;
  #called = false;
  /** Text that has not become parts yet. */
  #unread = "";

  constructor(parser: Parser, calls: boolean) {
    this.#parser = parser;
    this.#calls = calls;
  }

  push(text: string): AnswerPart[] {
    return this.#plain ? plainReader.push(text) : this.#parse(text, true);
  }

  end(): AnswerPart[] {
    return this.#plain ? [] : this.#parse("", false);
  }

  #parse(text: string, partial: boolean): AnswerPart[] {
    this.#unread += text;
    let delta: NativeAnswerDelta;
    try {
      delta = this.#parser.push(text, partial);
    } catch {
      // It throws for nothing else than text it cannot read. The end of a call that was cut is no content.
      this.#plain = true;
      return partial || !this.#called ? plainReader.push(this.#unread) : [];
    }
    const parts = toParts(delta);
    if (parts.length > 0) this.#unread = "";
    if (delta.toolCalls.length > 0) this.#called = true;
    if (delta.content && !this.#calls) this.#plain = true;
    return parts;
  }
}

function toParts({ reasoning, content, toolCalls }: NativeAnswerDelta): AnswerPart[] {
  const parts: AnswerPart[] = [];
  if (reasoning) parts.push({ kind: "reasoning", text: reasoning });
  if (content) parts.push({ kind: "content", text: content });
  for (const { index, name, arguments: piece } of toolCalls) {
    parts.push({ kind: "tool_call", index, ...(name && { name }), arguments: piece });
  }
  return parts;
}
