// What the model's chat template makes of a conversation, and the reader that takes its answers apart. Templates, formats and
// parsers are llama.cpp's own.
import { Failure } from "../errors.ts";
import type { Addon, NativeModel, NativeRenderedChat } from "./addon.ts";
import type { AnswerPart, AnswerReader, ChatMessage, ChatPrompt, RenderedPrompt } from "./engine.ts";

/** Longest part of a template's own message that reaches the client. */
const maxTemplateMessage = 200;

/** @throws Failure chat_template_error with the template's own message, cut */
export async function renderChat(addon: Addon, model: NativeModel, prompt: ChatPrompt): Promise<RenderedPrompt> {
  let chat: NativeRenderedChat;
  try {
    chat = await model.renderChat(JSON.stringify({ messages: prompt.messages.map(toOpenAi) }));
  } catch (cause) {
    const reason = templateMessage(cause instanceof Error ? cause.message : String(cause));
    const message = `The chat template rejected the messages: ${reason}`;
    throw new Failure("chat_template_error", message, { param: "messages", cause });
  }
  const { format, parser, generationPrompt, supportsThinking } = chat;
  const options = { reasoning: true, toolCalls: false, continues: false };
  const createReader = supportsThinking
    ? () => new ReasoningReader(new addon.AnswerParser(format, parser, generationPrompt, options))
    : () => plainReader;
  return {
    tokens: chat.tokens,
    answer: { createReader, preservedTokens: new Set(chat.preservedTokens), stop: chat.additionalStops },
  };
}

/** llama.cpp wraps the template's own message in a trace that ends in "Error: Jinja Exception: <message>". */
function templateMessage(trace: string): string {
  const own = trace.slice(trace.lastIndexOf("\nError: ") + 1).replace(/^Error: (Jinja Exception: )?/, "");
  return own.trim().slice(0, maxTemplateMessage);
}

function toOpenAi(message: ChatMessage): Record<string, string> {
  const { role, content, name, reasoning } = message;
  return { role, content, ...(name && { name }), ...(reasoning && { reasoning_content: reasoning }) };
}

/** All text is content. Holds no state, so all answers share it. */
export const plainReader: AnswerReader = {
  push: (text) => (text ? [{ kind: "content", text }] : []),
  end: () => [],
};

type Parser = InstanceType<Addon["AnswerParser"]>;

/**
 * Splits reasoning from content. llama.cpp's parser sees the whole text anew with every push, so it is asked only until the
 * content has begun: what follows then is content as it stands.
 */
export class ReasoningReader implements AnswerReader {
  readonly #parser: Parser;
  #contentBegan = false;

  constructor(parser: Parser) {
    this.#parser = parser;
  }

  push(text: string): AnswerPart[] {
    if (this.#contentBegan) return plainReader.push(text);
    return this.#parts(text, true);
  }

  end(): AnswerPart[] {
    return this.#contentBegan ? [] : this.#parts("", false);
  }

  #parts(text: string, partial: boolean): AnswerPart[] {
    const { reasoning, content } = this.#parser.push(text, partial);
    this.#contentBegan = content !== "";
    const parts: AnswerPart[] = [];
    if (reasoning) parts.push({ kind: "reasoning", text: reasoning });
    if (content) parts.push({ kind: "content", text: content });
    return parts;
  }
}
