// The input of a Responses request -> chat messages: items of one assistant turn become one message, calls are checked against their
// outputs (API.md section 11). Nothing is ever looked up: items that refer to something stored are refused.
import { z } from "zod";
import type { ChatMessage, ToolCall } from "../engine/engine.ts";
import { clip, invalidValue, missing, unsupported } from "./refusals.ts";
import { functionName, functionNameRule } from "./responses-tools.ts";
import { ArgumentsTotal, callIdField, toArguments } from "./tool-history.ts";

const partField = z.object({ type: z.string(), text: z.string().nullish(), refusal: z.string().nullish() });

const contentField = z.union([z.string(), z.array(partField).max(1024)]).nullish();

/** Members of all the kinds of items; which of them are needed depends on `type`. */
const itemField = z.object({
  type: z.string().nullish(),
  role: z.string().nullish(),
  content: contentField,
  call_id: callIdField.nullish(),
  name: z.string().nullish(),
  arguments: z.string().nullish(),
  output: contentField,
});

export const inputField = z.union([z.string(), z.array(itemField).min(1).max(4096)]);

type Item = z.output<typeof itemField>;
type Part = z.output<typeof partField>;

const roles: ReadonlyMap<string, ChatMessage["role"]> = new Map([
  ["system", "system"],
  ["developer", "system"],
  ["user", "user"],
  ["assistant", "assistant"],
]);

const media: ReadonlyMap<string, string> = new Map([
  ["input_image", "image"],
  ["input_audio", "audio"],
  ["input_video", "video"],
  ["input_file", "file"],
]);

/** Types of text parts by where they stand. */
const textParts = {
  message: new Set(["input_text", "output_text", "text"]),
  output: new Set(["input_text", "output_text"]),
  reasoning: new Set(["reasoning_text"]),
};

/** @throws Failure 400 that names the item, part or member */
export function toMessages(input: z.output<typeof inputField>): ChatMessage[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  const conversation = new Conversation();
  for (const [index, item] of input.entries()) conversation.take(item, `input[${index}]`);
  return conversation.end();
}

/** The assistant's turn that is being put together. */
type Turn = { texts: string[]; reasonings: string[]; calls: ToolCall[] };

class Conversation {
  readonly #messages: ChatMessage[] = [];
  readonly #arguments = new ArgumentsTotal();
  #turn: Turn | undefined;
  /** Calls that still have no output, and where they were made. */
  readonly #unanswered = new Map<string, string>();

  take(item: Item, path: string): void {
    switch (item.type ?? "message") {
      case "message":
        this.#message(item, path);
        break;
      case "function_call":
        this.#call(item, path);
        break;
      case "function_call_output":
        this.#output(item, path);
        break;
      case "reasoning":
        this.#reasoning(item, path);
        break;
      default:
        throw unsupported("unsupported_value", path, `items of type '${clip(item.type ?? "", 40)}' are not supported`);
    }
  }

  end(): ChatMessage[] {
    this.#endTurn();
    this.#expectAnswers();
    return this.#messages;
  }

  #message(item: Item, path: string): void {
    const role = roleOf(item, path);
    const content = textOf(item.content, textParts.message, `${path}.content`, role === "assistant");
    if (role === "assistant") {
      this.#continueTurn().texts.push(content);
      return;
    }
    this.#endTurn();
    this.#expectAnswers();
    this.#messages.push({ role, content });
  }

  #call(item: Item, path: string): void {
    const { call_id, name } = item;
    if (typeof name !== "string") throw missing(`${path}.name`);
    if (!functionName.test(name)) throw invalidValue(`${path}.name`, `${functionNameRule} in tool_calls`);
    const id = idOf(call_id, path);
    const { calls } = this.#continueTurn();
    if (calls.some((call) => call.id === id)) {
      throw invalidValue(`${path}.call_id`, "the tool_calls of one turn need different ids");
    }
    calls.push({ id, name, arguments: argumentsOf(item, path, this.#arguments) });
    this.#unanswered.set(id, path);
  }

  #output(item: Item, path: string): void {
    const id = idOf(item.call_id, path);
    this.#endTurn();
    if (!this.#unanswered.delete(id)) {
      throw invalidValue(`${path}.call_id`, "no open call of the tool_calls right before it has this id");
    }
    const content = textOf(item.output, textParts.output, `${path}.output`);
    this.#messages.push({ role: "tool", content, toolCallId: id });
  }

  /** Its summary is for people; without its own text there is nothing to tell the model. */
  #reasoning(item: Item, path: string): void {
    if (item.content === undefined || item.content === null || item.content.length === 0) return;
    const text = textOf(item.content, textParts.reasoning, `${path}.content`);
    this.#continueTurn().reasonings.push(text);
  }

  #continueTurn(): Turn {
    // A new turn while calls are open would hide their outputs from the model.
    if (!this.#turn) this.#expectAnswers();
    this.#turn ??= { texts: [], reasonings: [], calls: [] };
    return this.#turn;
  }

  #endTurn(): void {
    if (!this.#turn) return;
    const { texts, reasonings, calls } = this.#turn;
    this.#turn = undefined;
    this.#messages.push({
      role: "assistant",
      content: texts.join("\n"),
      ...(reasonings.length > 0 && { reasoning: reasonings.join("\n") }),
      ...(calls.length > 0 && { toolCalls: calls }),
    });
  }

  #expectAnswers(): void {
    const [open] = this.#unanswered.values();
    if (open === undefined) return;
    throw invalidValue(`${open}.call_id`, "tool_calls need an output each, before the next message and the end");
  }
}

function roleOf({ role }: Item, path: string): ChatMessage["role"] {
  if (typeof role !== "string") throw missing(`${path}.role`);
  const known = roles.get(role);
  if (known) return known;
  const rule = `expected 'system', 'developer', 'user' or 'assistant', got '${clip(role, 32)}'`;
  throw invalidValue(`${path}.role`, rule);
}

function idOf(callId: unknown, path: string): string {
  if (typeof callId !== "string") throw missing(`${path}.call_id`);
  if (callId === "") throw invalidValue(`${path}.call_id`, "ids of tool_calls cannot be empty");
  return callId;
}

function argumentsOf({ arguments: text }: Item, path: string, total: ArgumentsTotal): string {
  if (typeof text !== "string") throw missing(`${path}.arguments`);
  return toArguments(text, `${path}.arguments`, total);
}

function textOf(
  content: string | readonly Part[] | null | undefined,
  types: ReadonlySet<string>,
  path: string,
  refusals = false,
): string {
  if (content === undefined || content === null) throw missing(path);
  if (typeof content === "string") return content;
  return content.map((part, index) => partText(part, types, `${path}[${index}]`, refusals)).join("\n");
}

function partText(part: Part, types: ReadonlySet<string>, path: string, refusals: boolean): string {
  const refusal = refusals && part.type === "refusal";
  if (refusal || types.has(part.type)) {
    const text = refusal ? part.refusal : part.text;
    if (typeof text !== "string") throw missing(`${path}.${refusal ? "refusal" : "text"}`);
    return text;
  }
  const medium = media.get(part.type);
  if (medium) throw unsupported("unsupported_value", path, `${medium} input is not supported`);
  throw invalidValue(path, `expected a part of type ${[...types].join(" or ")}, got '${clip(part.type, 32)}'`);
}
