// Earlier tool calls in the messages of a chat request (API.md section 6.2): every call is well formed and answered by a tool message
// before the conversation goes on, and nothing else is answered. Every refusal has the word tool_calls in its message.
import { z } from "zod";
import type { ChatMessage, ToolCall } from "../engine/engine.ts";
import { checked } from "./fields.ts";
import { invalidValue, missing } from "./refusals.ts";
import { functionName } from "./tools.ts";

const callField = z.object({
  id: z.string(),
  type: z.string().nullish(),
  function: z.object({ name: functionName, arguments: z.string() }),
});

export const callsField = z.array(callField).max(256);

/** A string; what is none is refused with the word tool_calls like all that is wrong with calls. */
export const callIdField = checked(z.unknown().meta({ type: "string" }), (id) =>
  typeof id === "string" ? undefined : { kind: "invalid_type", rule: "a string, as ids of tool_calls are" },
);

const deepestArguments = 64;
/** Values in the arguments of all calls of one request, as many as a body may have itself; members of one object. */
const mostValues = 100_000;
const mostMembers = 4096;

/** Counts what the arguments of one request's calls hold: reading and rendering them takes time. */
export class ArgumentsTotal {
  #values = 0;

  /** Before the text is parsed, which takes long for an object of many members. @throws Failure invalid_value */
  add(text: string, path: string): void {
    const members = [0];
    for (let at = 0; at < text.length; at++) {
      const character = text.charCodeAt(at);
      if (character === quote) at = endOfString(text, at);
      else if (character === closeBrace || character === closeBracket) members.pop();
      else if (character === colon) members.push((members.pop() ?? 0) + 1);
      else if (character === comma || character === openBrace || character === openBracket) this.#values += 1;
      if (character === openBrace || character === openBracket) members.push(0);
      if (members.at(-1)! > mostMembers) throw tooMany(path, `more than ${mostMembers} members of one object`);
      if (this.#values > mostValues) throw tooMany(path, `more than ${mostValues} values`);
    }
  }
}

const tooMany = (path: string, what: string) =>
  invalidValue(path, `the arguments of all tool_calls cannot hold ${what}`);

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Of the string that begins there, or of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charCodeAt(at) !== quote) at += text.charCodeAt(at) === backslash ? 2 : 1;
  return at;
}

/** @param path of the message. @throws Failure 400 that names the call's member */
export function toCalls(calls: z.output<typeof callsField>, path: string, total: ArgumentsTotal): ToolCall[] {
  const ids = new Set<string>();
  return calls.map(({ id, type, function: called }, index) => {
    const at = `${path}.tool_calls[${index}]`;
    if (id === "") throw invalidValue(`${at}.id`, "expected a string that is not empty");
    if (ids.has(id)) throw invalidValue(`${at}.id`, "another call of this message has this id");
    ids.add(id);
    if (type == null) throw missing(`${at}.type`);
    if (type !== "function") throw invalidValue(`${at}.type`, "expected 'function'");
    return { id, name: called.name, arguments: toArguments(called.arguments, `${at}.function.arguments`, total) };
  });
}

/** The text of a JSON object; an empty one stands for `{}`. @throws Failure invalid_value */
export function toArguments(text: string, path: string, total: ArgumentsTotal): string {
  if (text === "") return "{}";
  total.add(text, path);
  const value = parse(text, path);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidValue(path, "tool_calls need the text of a JSON object");
  }
  if (isDeeper(value, deepestArguments))
    throw invalidValue(path, `tool_calls cannot be nested deeper than ${deepestArguments}`);
  return text;
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw invalidValue(path, "tool_calls need the text of a JSON object");
    throw error;
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

type Turn = Pick<ChatMessage, "role" | "toolCalls" | "toolCallId">;

/**
 * Checks that calls and answers belong together.
 * @param messages as in the body, one for one
 * @throws Failure invalid_value or missing_required_parameter
 */
export function checkAnswers(messages: readonly Turn[]): void {
  let open = new Map<string, string>();
  for (const [index, { role, toolCalls = [], toolCallId }] of messages.entries()) {
    const path = `messages[${index}]`;
    if (role === "tool") answer(open, toolCallId, `${path}.tool_call_id`);
    if (role !== "user" && role !== "assistant") continue;
    expectAnswered(open);
    open = new Map(toolCalls.map(({ id }, call) => [id, `${path}.tool_calls[${call}]`]));
  }
  expectAnswered(open);
}

function answer(open: Map<string, string>, id: string | undefined, path: string): void {
  if (id === undefined) throw invalidValue(path, "a tool message needs the id of one of the tool_calls before it");
  if (!open.delete(id)) {
    throw invalidValue(path, "it answers none of the open tool_calls of the nearest assistant message before it");
  }
}

function expectAnswered(open: ReadonlyMap<string, string>): void {
  const [path] = open.values();
  if (path !== undefined) {
    throw invalidValue(path, "no tool message answers it before the next user or assistant message or the end");
  }
}
