// A conversation in Anthropic's turns -> the messages a chat template takes. Neighbouring messages of one role are one turn, as
// Anthropic reads them. Refuses tool results without a call and calls without a result.
import { z } from "zod";
import type { ChatMessage, ToolCall } from "../engine/engine.ts";
import type { Failure } from "../errors.ts";
import { clip, invalidValue, missing } from "../openai/refusals.ts";
import { type Block, blocksOf, contentField, joinText, type LocatedBlock, misplaced, textOf } from "./blocks.ts";
import { toolName, toolNameRule } from "./tools.ts";

export const messagesField = z
  .array(z.object({ role: z.enum(["user", "assistant", "system"]), content: contentField }))
  .min(1)
  .max(4096);

type Role = "user" | "assistant" | "system";
type Turn = { readonly role: Role; readonly blocks: LocatedBlock[] };

export type Conversation = {
  readonly messages: readonly ChatMessage[];
  /** The last message is an assistant's, and the answer goes on with it. */
  readonly continues: boolean;
};

/** @param system "" for none @throws Failure 400 that names the message or block */
export function toConversation(messages: z.output<typeof messagesField>, system: string): Conversation {
  const turns = toTurns(messages);
  const last = turns.at(-1)!;
  const ends = last.role === "assistant" && !last.blocks.some(({ block }) => says(block));
  // An assistant's turn that says nothing yet is nothing to go on with.
  if (ends) turns.pop();
  const writer = new Writer();
  for (const turn of turns) writer.add(turn);
  const written = withSystem(system, writer.end());
  if (!written.some(({ role }) => role !== "system")) {
    throw invalidValue("messages", "expected at least one message of a user");
  }
  return { messages: written, continues: turns.at(-1)?.role === "assistant" };
}

function toTurns(messages: z.output<typeof messagesField>): Turn[] {
  const turns: Turn[] = [];
  for (const [index, { role, content }] of messages.entries()) {
    const blocks = blocksOf(content, `messages[${index}].content`);
    const before = turns.at(-1);
    if (before && before.role === role && role !== "system") before.blocks.push(...blocks);
    else turns.push({ role, blocks });
  }
  return turns;
}

function says({ type, text, thinking }: Block): boolean {
  return type === "text" ? text !== "" : type === "thinking" ? thinking !== "" : type !== "redacted_thinking";
}

/** Leading instructions become one message, with a blank line between them. */
function withSystem(system: string, messages: readonly ChatMessage[]): ChatMessage[] {
  const first = messages.findIndex(({ role }) => role !== "system");
  const count = first === -1 ? messages.length : first;
  const leading = [system, ...messages.slice(0, count).map(({ content }) => content)].filter((text) => text !== "");
  const rest = messages.slice(count);
  return leading.length === 0 ? rest : [{ role: "system", content: leading.join("\n\n") }, ...rest];
}

/** A call of the last assistant turn, and its result once that has come. */
type OpenCall = { readonly path: string; result?: ChatMessage };

/** Puts results directly behind the turn that made the calls, in the calls' order, and all else behind them. */
class Writer {
  readonly #messages: ChatMessage[] = [];
  /** By id, in the order they were made. */
  readonly #calls = new Map<string, OpenCall>();
  /** Where the results belong. */
  #place = 0;

  add({ role, blocks }: Turn): void {
    if (role === "user") this.#addUser(blocks);
    else if (role === "assistant") this.#addAssistant(blocks);
    else this.#messages.push({ role, content: blocks.map(textOf).join("\n") });
  }

  end(): ChatMessage[] {
    this.#settle();
    return this.#messages;
  }

  #addUser(blocks: readonly LocatedBlock[]): void {
    const texts: string[] = [];
    for (const located of blocks) {
      if (located.block.type === "tool_result") this.#answer(located);
      else if (located.block.type === "text") texts.push(textOf(located));
      else throw misplaced(located, "'text' or 'tool_result'");
    }
    if (texts.length > 0 || blocks.length === 0) this.#messages.push({ role: "user", content: texts.join("\n") });
  }

  #answer({ block, path }: LocatedBlock): void {
    const id = block.tool_use_id;
    if (typeof id !== "string") throw missing(`${path}.tool_use_id`);
    const call = this.#calls.get(id);
    if (!call) throw unexpected(`${path}.tool_use_id`, id);
    if (call.result) throw invalidValue(`${path}.tool_use_id`, `there is another tool_result for '${clip(id)}'`);
    call.result = { role: "tool", toolCallId: id, content: joinText(block.content, `${path}.content`) };
  }

  #addAssistant(blocks: readonly LocatedBlock[]): void {
    this.#settle();
    const texts: string[] = [];
    const thoughts: string[] = [];
    const toolCalls: ToolCall[] = [];
    for (const located of blocks) {
      const { block, path } = located;
      if (block.type === "text") texts.push(textOf(located));
      else if (block.type === "thinking") thoughts.push(block.thinking ?? "");
      else if (block.type === "tool_use") {
        const call = toCall(located);
        if (this.#calls.has(call.id)) {
          throw invalidValue(`${path}.id`, `another tool_use has the id '${clip(call.id)}'`);
        }
        toolCalls.push(call);
        this.#calls.set(call.id, { path });
      } else if (block.type !== "redacted_thinking") throw misplaced(located, "'text', 'tool_use' or 'thinking'");
    }
    const reasoning = thoughts.join("\n");
    this.#messages.push({
      role: "assistant",
      content: texts.join("\n"),
      ...(reasoning && { reasoning }),
      ...(toolCalls.length > 0 && { toolCalls }),
    });
    this.#place = this.#messages.length;
  }

  /** @throws Failure 400 at a call without a result */
  #settle(): void {
    const after = this.#messages.splice(this.#place);
    for (const [id, { path, result }] of this.#calls) {
      if (!result) {
        throw invalidValue(path, `tool_use ids were found without tool_result blocks after them: '${clip(id)}'`);
      }
      this.#messages.push(result);
    }
    for (const message of after) this.#messages.push(message);
    this.#calls.clear();
  }
}

function unexpected(path: string, id: string): Failure {
  return invalidValue(path, `unexpected tool_use_id in a tool_result: no tool_use before it has the id '${clip(id)}'`);
}

/** @throws Failure 400 */
function toCall({ block: { id, name, input }, path }: LocatedBlock): ToolCall {
  if (typeof id !== "string") throw missing(`${path}.id`);
  if (id === "") throw invalidValue(`${path}.id`, "expected at least 1 character");
  if (typeof name !== "string") throw missing(`${path}.name`);
  if (!toolName.test(name)) throw invalidValue(`${path}.name`, toolNameRule);
  if (!input) throw missing(`${path}.input`);
  return { id, name, arguments: JSON.stringify(input) };
}
