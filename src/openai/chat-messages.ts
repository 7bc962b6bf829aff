// The messages of a chat request (API.md section 6.2): roles, text parts, what each role may leave out; leading instructions merged.
import { z } from "zod";
import type { ChatMessage } from "../engine/engine.ts";
import { matching } from "./fields.ts";
import { clip, invalidValue, missing, unsupported } from "./refusals.ts";
import { ArgumentsTotal, callIdField, callsField, checkAnswers, toCalls } from "./tool-history.ts";

const partField = z.object({
  type: z.string(),
  text: z.string().nullish(),
  refusal: z.string().nullish(),
});

const messageField = z.object({
  role: z.string(),
  content: z.union([z.string(), z.array(partField).max(1024)]).nullish(),
  name: matching(/^[A-Za-z0-9_-]{1,64}$/, "expected 1 to 64 characters of A-Z, a-z, 0-9, _ and -").nullish(),
  refusal: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
  tool_calls: callsField.nullish(),
  tool_call_id: callIdField.nullish(),
});

export const messagesField = z.array(messageField).min(1).max(4096);

type Message = z.output<typeof messageField>;
type Part = z.output<typeof partField>;

const roles: Readonly<Record<string, ChatMessage["role"]>> = Object.assign(Object.create(null), {
  system: "system",
  developer: "system",
  user: "user",
  assistant: "assistant",
  tool: "tool",
});

const mediaParts: ReadonlyMap<string, string> = new Map([
  ["image_url", "image"],
  ["input_image", "image"],
  ["input_audio", "audio"],
  ["video_url", "video"],
  ["input_video", "video"],
  ["file", "file"],
  ["input_file", "file"],
]);

/** @throws Failure 400 that names the message, part or member */
export function toChatMessages(messages: readonly Message[]): ChatMessage[] {
  const total = new ArgumentsTotal();
  const chat = messages.map((message, index) => toChatMessage(message, `messages[${index}]`, total));
  checkAnswers(chat);
  return mergeLeading(chat);
}

function toChatMessage(message: Message, path: string, total: ArgumentsTotal): ChatMessage {
  const role = roleOf(message.role, `${path}.role`);
  const content = contentOf(message, role, path);
  const { name, tool_call_id } = message;
  const named = { role, content, ...(name && { name }) };
  if (role === "tool") return { ...named, ...(typeof tool_call_id === "string" && { toolCallId: tool_call_id }) };
  if (role !== "assistant") return named;
  const reasoning = message.reasoning_content ?? message.reasoning;
  const toolCalls = message.tool_calls?.length ? toCalls(message.tool_calls, path, total) : undefined;
  return { ...named, ...(reasoning && { reasoning }), ...(toolCalls && { toolCalls }) };
}

function roleOf(role: string, path: string): ChatMessage["role"] {
  const known = roles[role];
  if (known) return known;
  throw invalidValue(path, `expected 'system', 'developer', 'user', 'assistant' or 'tool', got '${clip(role, 32)}'`);
}

function contentOf(message: Message, role: ChatMessage["role"], path: string): string {
  const { content, refusal, reasoning_content, reasoning, tool_calls } = message;
  if (typeof content === "string") return content;
  if (content) return content.map((part, index) => textOf(part, role, `${path}.content[${index}]`)).join("\n");
  const says = [refusal, reasoning_content, reasoning].some((text) => typeof text === "string");
  if (role !== "assistant" || !(says || tool_calls?.length)) throw missing(`${path}.content`);
  return refusal ?? "";
}

function textOf(part: Part, role: ChatMessage["role"], path: string): string {
  if (part.type === "text") return part.text ?? absent(`${path}.text`);
  if (part.type === "refusal" && role === "assistant") return part.refusal ?? absent(`${path}.refusal`);
  const medium = mediaParts.get(part.type);
  if (medium) throw unsupported("unsupported_value", path, `${medium} input is not supported`);
  throw invalidValue(path, `expected a part of type 'text', got '${clip(part.type, 32)}'`);
}

function absent(path: string): never {
  throw missing(path);
}

/** Leading system and developer messages become one, with a blank line between them. */
export function mergeLeading(messages: readonly ChatMessage[]): ChatMessage[] {
  const end = messages.findIndex(({ role }) => role !== "system");
  const leading = end === -1 ? messages : messages.slice(0, end);
  if (leading.length < 2) return [...messages];
  const content = leading.map((message) => message.content).join("\n\n");
  return [{ role: "system", content }, ...messages.slice(leading.length)];
}
