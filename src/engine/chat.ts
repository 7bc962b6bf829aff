// What the model's chat template makes of a conversation, and the reader that takes its answers apart. Templates, formats and
// parsers are llama.cpp's own.
import { Failure } from "../errors.ts";
import type { Addon, NativeModel, NativeParserOptions, NativeRenderedChat } from "./addon.ts";
import { callFirst, oneCall } from "./call-grammar.ts";
import { EitherReader, renderEither } from "./either-form.ts";
import type { AnswerFormat, AnswerReader, ChatPrompt, RenderedPrompt } from "./engine.ts";
import { expectsFence, strictJson } from "./json-grammar.ts";
import { ParsedReader, plainReader } from "./parsed-reader.ts";
import { afterReasoning, afterTags } from "./reasoning-grammar.ts";
import { toTemplateInputs } from "./template-inputs.ts";
import { endsWithText } from "./text-bytes.ts";

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
  /** Of a JSON answer that goes on with the last message: how refusals name its schema. */
  readonly begunParam: string | undefined;
  readonly createReader: () => AnswerReader;

  constructor(chat: NativeRenderedChat, prompt: ChatPrompt, createReader: () => AnswerReader) {
    this.ownGrammar = prompt.grammar !== undefined;
    this.begunParam = prompt.jsonSchema && textGoneOnWith(prompt) !== "" ? schemaParamOf(prompt) : undefined;
    this.chat = chat;
    this.preservedTokens = new Set(chat.preservedTokens);
    this.stop = chat.additionalStops;
    this.thinks = chat.thinkingEndTags.length > 0;
    this.constrained = chat.grammar !== "";
    this.createReader = createReader;
  }
}

/**
 * @throws Failure chat_template_error with the template's own message, cut; invalid_json_schema when its converter refuses;
 * invalid_value when the answer may be calls or JSON, and the model's format does not tell one from the other
 */
export async function renderChat(addon: Addon, model: NativeModel, prompt: ChatPrompt): Promise<RenderedPrompt> {
  const written = await write(model, prompt);
  const { chat } = written;
  const calls = mayCall(prompt);
  const options: NativeParserOptions = {
    reasoning: prompt.splitReasoning ?? true,
    toolCalls: calls,
    continues: prompt.continueFinalMessage !== undefined,
  };
  const parsed = calls || (options.reasoning && chat.supportsThinking);
  const readerOf = ({ format, generationPrompt }: NativeRenderedChat, own: Partial<NativeParserOptions> = {}) => {
    const all = { ...options, ...own };
    return new ParsedReader(new addon.AnswerParser(format, generationPrompt, all), all.toolCalls);
  };
  const isBegunJson = prompt.jsonSchema !== undefined && !calls && textGoneOnWith(prompt) !== "";
  const createReader = () => {
    if (!parsed || isBegunJson) return plainReader;
    if (!written.text) return readerOf(chat);
    const text = readerOf(written.text, { toolCalls: false });
    const watch = options.reasoning ? text : readerOf(written.text, { toolCalls: false, reasoning: true });
    return new EitherReader({ calls: readerOf(chat), text, watch, marks: written.marks });
  };
  if (prompt.jsonSchema && !beginsTurn(prompt) && !endsWithText(chat.prompt, chat.generationPrompt)) {
    expectContent(createReader(), prompt);
  }
  return { text: chat.prompt, tokens: chat.tokens, answer: new NativeFormat(chat, prompt, createReader) };
}

/** Some formats take a text without any marks for reasoning. @throws Failure invalid_value */
function expectContent(reader: AnswerReader, { continueFinalMessage }: ChatPrompt): void {
  const parts = [...reader.push("{}"), ...reader.end()];
  if (parts.every(({ kind }) => kind === "content")) return;
  const param = continueFinalMessage === undefined ? "add_generation_prompt" : "continue_final_message";
  throw refuse(param, "the model's format needs the beginning of a turn before a JSON answer");
}

function refuse(param: string, rule: string): Failure {
  return new Failure("invalid_value", `Invalid value for '${param}': ${rule}.`, { param });
}

const schemaParamOf = ({ schemaParam = "response_format" }: ChatPrompt): string => schemaParam;

const mayCall = ({ tools = [], toolChoice }: ChatPrompt): boolean => tools.length > 0 && toolChoice !== "none";

type Written = {
  readonly chat: NativeRenderedChat;
  /** As in EitherForm. */
  readonly text?: NativeRenderedChat | undefined;
  readonly marks: readonly string[];
};

/** What the template makes of the prompt, with the grammar that the answer must follow. */
async function write(model: NativeModel, prompt: ChatPrompt): Promise<Written> {
  const calls = mayCall(prompt);
  const { jsonSchema, ...rest } = prompt;
  try {
    if (!calls || !jsonSchema) return { chat: await writeOne(model, prompt), marks: [] };
    // Calls are all there may be.
    if (prompt.toolChoice === "required") return { chat: await writeOne(model, rest), marks: [] };
    const either = await renderEither(prompt, (asked) => render(model, asked));
    if (either) return either;
  } catch (cause) {
    throw explainRefusal(cause);
  }
  throw refuse(schemaParamOf(prompt), "the model's format cannot combine tools with a JSON answer");
}

async function writeOne(model: NativeModel, prompt: ChatPrompt): Promise<NativeRenderedChat> {
  const chat = await render(model, prompt);
  const { thinkingStartTag } = chat;
  let { grammar } = chat;
  if (mayCall(prompt) && prompt.toolChoice === "required") grammar = callFirst(grammar, thinkingStartTag);
  if (prompt.parallelToolCalls === false) grammar = oneCall(grammar);
  if (prompt.grammar === undefined) return { ...chat, grammar };
  return withOwnGrammar(model, { ...chat, grammar }, prompt, prompt.grammar);
}

/** With a grammar whenever there is a schema, whose answers are the JSON alone: not every template of llama.cpp's sees to either. */
async function render(model: NativeModel, prompt: ChatPrompt): Promise<NativeRenderedChat> {
  const chat = await applyTemplate(model, prompt);
  const { jsonSchema, ...rest } = prompt;
  if (!jsonSchema) return { ...chat, grammar: strictJson(chat.grammar) };
  const begun = textGoneOnWith(prompt);
  const { generationPrompt } = chat;
  const goesOn = begun !== "" && generationPrompt.endsWith(begun);
  if (goesOn || !/^root ::= .*response-format/m.test(chat.grammar)) {
    const own = strictJson(await model.schemaGrammar(JSON.stringify(jsonSchema)));
    const before = { generationPrompt: generationPrompt.slice(0, -begun.length), startTag: "", endTag: "" };
    return { ...chat, ...always, grammar: afterTags(own, goesOn ? before : thinkingOf(chat)) };
  }
  if (!expectsFence(chat.grammar)) return { ...chat, grammar: strictJson(chat.grammar) };
  // Without the fence an answer is read like any other.
  const { format } = await applyTemplate(model, rest);
  return { ...chat, format, grammar: strictJson(chat.grammar) };
}

/** What stands of the answer already; its reasoning is over then. */
function textGoneOnWith({ messages, continueFinalMessage }: ChatPrompt): string {
  const isText = continueFinalMessage === true || continueFinalMessage === "content";
  return isText ? (messages.at(-1)?.content ?? "") : "";
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
  const frame = await applyTemplate(model, { ...prompt, jsonSchema: { type: "object" } });
  const grammar = afterReasoning(own, strictJson(frame.grammar)) ?? afterTags(own, thinkingOf(chat));
  return { ...chat, ...always, grammar };
}

function thinkingOf({
  generationPrompt,
  thinkingStartTag: startTag,
  thinkingEndTags: [endTag = ""],
}: NativeRenderedChat) {
  // Reasoning that the prompt has ended does not begin again.
  const isOver = endTag !== "" && generationPrompt.includes(endTag);
  return isOver ? { generationPrompt, startTag: "", endTag: "" } : { generationPrompt, startTag, endTag };
}

const beginsTurn = ({ addGenerationPrompt, continueFinalMessage }: ChatPrompt): boolean =>
  addGenerationPrompt !== false && continueFinalMessage === undefined;

/**
 * A prompt that does not begin the answer has begun no reasoning either: what the template would begin it with must not make reasoning
 * of what the model then says.
 */
async function applyTemplate(model: NativeModel, prompt: ChatPrompt): Promise<NativeRenderedChat> {
  const chat = await model.renderChat(await toTemplateInputs(prompt));
  const { generationPrompt, thinkingStartTag, thinkingEndTags } = chat;
  if (beginsTurn(prompt) || endsWithText(chat.prompt, generationPrompt)) return chat;
  const begun = thinkingStartTag === "" ? -1 : generationPrompt.lastIndexOf(thinkingStartTag);
  const over = thinkingEndTags.some((tag) => generationPrompt.includes(tag, begun));
  return begun < 0 || over ? chat : { ...chat, generationPrompt: generationPrompt.slice(0, begun) };
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
