// The answer of POST /v1/messages: the events of a stream, or one message with the same blocks (API.md section 12).
import type { AnswerPart, Usage } from "../engine/engine.ts";
import type { AnswerForm, AnswerHead, Choice, ChoiceEvent, Finish } from "../openai/answer.ts";
import { newId } from "../openai/ids.ts";

/** What decides how an answer is said to have ended. */
export type MessageLimits = {
  /** The caller's own stop strings; a template's are no stop_sequence. */
  readonly stopSequences: readonly string[];
  /** The token limit the answer was generated with. */
  readonly maxTokens: number;
  /** That limit is what the prompt left of the context, and less than was asked for. */
  readonly limitedByContext: boolean;
};

type BlockType = "text" | "thinking" | "tool_use";

const blockTypes = { content: "text", reasoning: "thinking", tool_call: "tool_use" } as const satisfies Record<
  AnswerPart["kind"],
  BlockType
>;

export class MessageAnswer implements AnswerForm {
  readonly #head: AnswerHead;
  readonly #limits: MessageLimits;
  #usage: Pick<Usage, "promptTokens" | "cachedTokens">;
  #begun = false;
  #blocks = 0;
  /** The block that has begun and not stopped. */
  #open: { readonly type: BlockType; readonly call: number | undefined } | undefined;
  #calls = 0;

  /** @param promptTokens all of them, cached or not */
  constructor(head: AnswerHead, promptTokens: number, limits: MessageLimits) {
    this.#head = head;
    this.#limits = limits;
    this.#usage = { promptTokens, cachedTokens: 0 };
  }

  /** To be told before the first event, when the prompt is about to be evaluated. */
  prefillBegan(cachedTokens: number): void {
    this.#usage = { ...this.#usage, cachedTokens };
  }

  chunks({ event }: ChoiceEvent): object[] {
    // Not asked for: a message has no place for them.
    if (event.type === "progress" || event.type === "prompt") return [];
    const events = this.#begun ? [] : this.#start(event.type === "finish" ? event.usage : this.#usage);
    if (event.type === "finish") events.push(...this.#end(event));
    else for (const part of event.parts) events.push(...this.#piece(part));
    return events;
  }

  usageChunk(): never {
    throw new Error("a stream of messages tells its usage in message_delta");
  }

  reply([choice]: readonly Choice[]): object {
    const { parts, finish } = choice!;
    const content = parts.flatMap((part) => toBlock(part, finish.reason === "stop"));
    if (content.length === 0) content.push({ type: "text", text: "" });
    const called = parts.some(({ kind }) => kind === "tool_call");
    return { ...this.#message(content), ...this.#stop(finish, called), usage: usageObject(finish.usage) };
  }

  #message(content: readonly object[]) {
    const { id, model } = this.#head;
    return { id, type: "message", role: "assistant", model, content };
  }

  #start(usage: Pick<Usage, "promptTokens" | "cachedTokens">): object[] {
    this.#begun = true;
    const counts = usageObject({ ...usage, completionTokens: 0, reasoningTokens: 0 });
    const message = { ...this.#message([]), stop_reason: null, stop_sequence: null, usage: counts };
    return [{ type: "message_start", message }, { type: "ping" }];
  }

  #piece(part: AnswerPart): object[] {
    const events = this.#goesOn(part) ? [] : [...this.#stopBlock(), this.#startBlock(part)];
    const delta = deltaOf(part);
    return delta ? [...events, this.#delta(delta)] : events;
  }

  #goesOn(part: AnswerPart): boolean {
    const call = part.kind === "tool_call" ? part.index : undefined;
    return this.#open?.type === blockTypes[part.kind] && this.#open.call === call;
  }

  #startBlock(part: AnswerPart): object {
    this.#open = { type: blockTypes[part.kind], call: part.kind === "tool_call" ? part.index : undefined };
    if (part.kind === "tool_call") this.#calls += 1;
    return { type: "content_block_start", index: this.#blocks, content_block: emptyBlock(part) };
  }

  #stopBlock(): object[] {
    if (!this.#open) return [];
    const signature = this.#open.type === "thinking" ? [this.#delta({ type: "signature_delta", signature: "" })] : [];
    const stop = { type: "content_block_stop", index: this.#blocks };
    this.#open = undefined;
    this.#blocks += 1;
    return [...signature, stop];
  }

  #delta(delta: object): object {
    return { type: "content_block_delta", index: this.#blocks, delta };
  }

  #end(finish: Finish): object[] {
    const text: AnswerPart = { kind: "content", text: "" };
    const nothing = this.#blocks === 0 && !this.#open ? [this.#startBlock(text)] : [];
    const delta = this.#stop(finish, this.#calls > 0);
    return [
      ...nothing,
      ...this.#stopBlock(),
      { type: "message_delta", delta, usage: usageObject(finish.usage) },
      { type: "message_stop" },
    ];
  }

  #stop({ reason, stopString, usage }: Finish, called: boolean): { stop_reason: string; stop_sequence: string | null } {
    const { stopSequences, maxTokens, limitedByContext } = this.#limits;
    if (stopString !== null && stopSequences.includes(stopString)) {
      return { stop_reason: "stop_sequence", stop_sequence: stopString };
    }
    if (reason === "stop") return { stop_reason: called ? "tool_use" : "end_turn", stop_sequence: null };
    const full = limitedByContext && usage.completionTokens >= maxTokens;
    return { stop_reason: full ? "model_context_window_exceeded" : "max_tokens", stop_sequence: null };
  }
}

/** A block as it begins: its deltas bring the rest. */
function emptyBlock(part: AnswerPart): object {
  switch (part.kind) {
    case "content":
      return { type: "text", text: "" };
    case "reasoning":
      return { type: "thinking", thinking: "", signature: "" };
    case "tool_call":
      return { type: "tool_use", id: newId("toolu_"), name: part.name ?? "", input: {} };
  }
}

/** undefined when the piece brings nothing but its block. */
function deltaOf(part: AnswerPart): object | undefined {
  switch (part.kind) {
    case "content":
      return part.text ? { type: "text_delta", text: part.text } : undefined;
    case "reasoning":
      return part.text ? { type: "thinking_delta", thinking: part.text } : undefined;
    case "tool_call":
      return part.arguments ? { type: "input_json_delta", partial_json: part.arguments } : undefined;
  }
}

/** Nothing for a call that was cut off: its input is no JSON. @param ended the answer ended by itself */
function toBlock(part: AnswerPart, ended: boolean): object[] {
  switch (part.kind) {
    case "content":
      return [{ type: "text", text: part.text }];
    case "reasoning":
      return [{ type: "thinking", thinking: part.text, signature: "" }];
    case "tool_call": {
      const input = parseInput(part.arguments || (ended ? "{}" : ""));
      return input ? [{ type: "tool_use", id: newId("toolu_"), name: part.name ?? "", input }] : [];
    }
  }
}

function parseInput(text: string): object | undefined {
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function usageObject({ promptTokens, cachedTokens, completionTokens, reasoningTokens }: Usage): object {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: completionTokens,
    output_tokens_details: { thinking_tokens: reasoningTokens },
  };
}
