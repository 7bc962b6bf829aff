// What the model's chat template makes of a conversation, and the reader that takes its answers apart. Templates, formats and
// parsers are llama.cpp's own.
import { Failure } from "../errors.ts";
import type { Addon, NativeAnswerDelta, NativeModel, NativeParserOptions, NativeRenderedChat } from "./addon.ts";
import type { AnswerFormat, AnswerPart, AnswerReader, ChatMessage, ChatPrompt, RenderedPrompt } from "./engine.ts";
import { expectsFence, strictJson } from "./json-grammar.ts";
import { afterReasoning, afterTags } from "./reasoning-grammar.ts";

/** Longest part of a template's or a grammar's own message that reaches the client. */
const maxOwnMessage = 200;

export const cut = (text: string) => text.trim().slice(0, maxOwnMessage);

/** Adds what the sampler needs to the format that callers see. */
export class NativeFormat implements AnswerFormat {
  readonly preservedTokens: ReadonlySet<number>;
  readonly stop: readonly string[];
  readonly thinks: boolean;
  readonly constrained: boolean;
  readonly chat: NativeRenderedChat;
  /** The grammar is, or holds, the caller's. */
  readonly ownGrammar: boolean;
  readonly createReader: () => AnswerReader;

  constructor(chat: NativeRenderedChat, ownGrammar: boolean, createReader: () => AnswerReader) {
    this.ownGrammar = ownGrammar;
    this.chat = chat;
    this.preservedTokens = new Set(chat.preservedTokens);
    this.stop = chat.additionalStops;
    this.thinks = chat.thinkingEndTags.length > 0;
    this.constrained = chat.grammar !== "";
    this.createReader = createReader;
  }
}

/** @throws Failure chat_template_error with the template's own message, cut; invalid_json_schema when its converter refuses */
export async function renderChat(addon: Addon, model: NativeModel, prompt: ChatPrompt): Promise<RenderedPrompt> {
  let chat: NativeRenderedChat;
  try {
    chat = await render(model, prompt);
    if (prompt.toolChoice === "required") chat = { ...chat, grammar: callFirst(chat.grammar) };
    if (prompt.parallelToolCalls === false) chat = { ...chat, grammar: oneCall(chat.grammar) };
    if (prompt.grammar !== undefined) chat = await withOwnGrammar(model, chat, prompt, prompt.grammar);
  } catch (cause) {
    throw explainRefusal(cause);
  }
  const calls = prompt.tools !== undefined && prompt.tools.length > 0 && prompt.toolChoice !== "none";
  const options: NativeParserOptions = {
    reasoning: prompt.splitReasoning ?? true,
    toolCalls: calls,
    continues: prompt.continueFinalMessage !== undefined,
  };
  const parser = () => new addon.AnswerParser(chat.format, chat.parser, chat.generationPrompt, options);
  const parsed = calls || (options.reasoning && chat.supportsThinking);
  const createReader = parsed ? () => new ParsedReader(parser(), calls) : () => plainReader;
  return {
    text: chat.prompt,
    tokens: chat.tokens,
    answer: new NativeFormat(chat, prompt.grammar !== undefined, createReader),
  };
}

/** With a grammar whenever there is a schema, whose answers are the JSON alone: not every template of llama.cpp's sees to either. */
async function render(model: NativeModel, prompt: ChatPrompt): Promise<NativeRenderedChat> {
  const chat = await model.renderChat(JSON.stringify(toTemplateInputs(prompt)));
  const { jsonSchema, ...rest } = prompt;
  if (!jsonSchema) return { ...chat, grammar: strictJson(chat.grammar) };
  if (chat.grammar === "") {
    const own = strictJson(await model.schemaGrammar(JSON.stringify(jsonSchema)));
    return { ...chat, ...always, grammar: afterTags(own, thinkingOf(chat)) };
  }
  if (!expectsFence(chat.grammar)) return { ...chat, grammar: strictJson(chat.grammar) };
  // Without the fence an answer is read like any other.
  const { format, parser } = await model.renderChat(JSON.stringify(toTemplateInputs(rest)));
  return { ...chat, format, parser, grammar: strictJson(chat.grammar) };
}

/** A grammar that needs no trigger. */
const always = { lazy: false, triggers: [] };

/**
 * A model that thinks must be allowed to: the grammar begins where the template would have a JSON answer begin. Without thinking the
 * grammar stands alone, and is not the template's.
 */
async function withOwnGrammar(
  model: NativeModel,
  chat: NativeRenderedChat,
  prompt: ChatPrompt,
  own: string,
): Promise<NativeRenderedChat> {
  if (chat.thinkingEndTags.length === 0) return chat;
  const inputs = toTemplateInputs({ ...prompt, jsonSchema: { type: "object" } });
  const frame = await model.renderChat(JSON.stringify(inputs));
  const grammar = afterReasoning(own, strictJson(frame.grammar)) ?? afterTags(own, thinkingOf(chat));
  return { ...chat, ...always, grammar };
}

function thinkingOf({
  generationPrompt,
  thinkingStartTag: startTag,
  thinkingEndTags: [endTag = ""],
}: NativeRenderedChat) {
  return { generationPrompt, startTag, endTag };
}

/** llama.cpp's grammar of a required call lets text come before it; here only reasoning may. */
function callFirst(grammar: string): string {
  return grammar.replace(/^root ::= .*$/m, (root) => root.replace(/ until-\d+\?(?= tool-calls?\b)/, ""));
}

/** llama.cpp's grammar for tools with a mark before each call takes any number of calls, also where one was asked for. */
function oneCall(grammar: string): string {
  return grammar.replace(/^(tool-calls ::= \(tool-call\?? space\))\+$/m, "$1");
}

function toTemplateInputs(prompt: ChatPrompt): Record<string, unknown> {
  const { tools = [], templateKwargs } = prompt;
  return {
    messages: prompt.messages.map(toOpenAi),
    ...(tools.length > 0 && { tools: tools.map((tool) => ({ type: "function", function: tool })) }),
    ...(tools.length > 0 && { tool_choice: prompt.toolChoice ?? "auto" }),
    ...(prompt.parallelToolCalls !== undefined && { parallel_tool_calls: prompt.parallelToolCalls }),
    ...(prompt.jsonSchema && { json_schema: prompt.jsonSchema }),
    ...(templateKwargs && { chat_template_kwargs: templateKwargs }),
    ...(prompt.enableThinking !== undefined && { enable_thinking: prompt.enableThinking }),
    ...(prompt.addGenerationPrompt !== undefined && { add_generation_prompt: prompt.addGenerationPrompt }),
    ...(prompt.continueFinalMessage !== undefined && { continue_final_message: prompt.continueFinalMessage }),
  };
}

function toOpenAi(message: ChatMessage): Record<string, unknown> {
  const { role, content, name, reasoning, toolCalls, toolCallId } = message;
  const call = (call: { id: string; name: string; arguments: string }) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  });
  return {
    role,
    content,
    ...(name && { name }),
    ...(reasoning && { reasoning_content: reasoning }),
    ...(toolCalls && { tool_calls: toolCalls.map(call) }),
    ...(toolCallId && { tool_call_id: toolCallId }),
  };
}

function explainRefusal(cause: unknown): Failure {
  const trace = cause instanceof Error ? cause.message : String(cause);
  const schema = trace.match(/JSON schema conversion failed:\n(.*)/)?.[1];
  if (schema !== undefined) {
    return new Failure("invalid_json_schema", `The JSON schema cannot be enforced: ${cut(schema)}`, { cause });
  }
  const message = `The chat template rejected the messages: ${cut(templateMessage(trace))}`;
  return new Failure("chat_template_error", message, { param: "messages", cause });
}

/** llama.cpp wraps the template's own message in a trace that ends in "Error: Jinja Exception: <message>". */
function templateMessage(trace: string): string {
  return trace.slice(trace.lastIndexOf("\nError: ") + 1).replace(/^Error: (Jinja Exception: )?/, "");
}

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
