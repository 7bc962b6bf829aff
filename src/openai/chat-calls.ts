// The tool calls of one chat answer: their ids are made here, once each, and arguments are never left empty when a call is complete.
import type { AnswerPart } from "../engine/engine.ts";
import type { Finish } from "./answer.ts";
import { newId } from "./ids.ts";

type CallPart = Extract<AnswerPart, { kind: "tool_call" }>;

export type Call = {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
};

/** The deltas of one choice's calls. */
export class CallDeltas {
  /** Arguments of the calls so far. */
  readonly #calls = new Map<number, string>();

  /** One or two `tool_calls` deltas: who is called, then the next piece of the arguments. */
  of({ index, name = "", arguments: text }: CallPart): object[] {
    const deltas: object[] = [];
    if (!this.#calls.has(index)) {
      this.#calls.set(index, "");
      deltas.push({ index, id: newId("call_"), type: "function", function: { name, arguments: "" } });
    }
    if (text === "") return deltas;
    this.#calls.set(index, this.#calls.get(index) + text);
    return [...deltas, { index, function: { arguments: text } }];
  }

  /** What calls without arguments lack. */
  end(finish: Finish): object[] {
    const empty = [...this.#calls].filter(([, text]) => text === "");
    return empty.flatMap(([index]) => (finish.reason === "stop" ? [{ index, function: { arguments: "{}" } }] : []));
  }

  reason(finish: Finish): string {
    return finishReason(finish, [...this.#calls.values()]);
  }
}

/** The calls of a whole answer, in order. */
export function toToolCalls(parts: readonly AnswerPart[], finish: Finish): Call[] {
  const calls = new Map<number, { name: string; text: string }>();
  for (const part of parts) {
    if (part.kind !== "tool_call") continue;
    const call = calls.get(part.index) ?? { name: part.name ?? "", text: "" };
    calls.set(part.index, { ...call, text: call.text + part.arguments });
  }
  return [...calls.values()].map(({ name, text }) => ({
    id: newId("call_"),
    type: "function",
    function: { name, arguments: text || (finish.reason === "stop" ? "{}" : "") },
  }));
}

/**
 * `tool_calls` says that all of them can be made: not after a stop string in the middle of one.
 * @param calls the arguments of each
 */
export function finishReason({ reason, stopString }: Finish, calls: readonly string[]): string {
  if (calls.length === 0 || reason !== "stop") return reason;
  return stopString === null || calls.every(areWholeArguments) ? "tool_calls" : "stop";
}

/** None at all count as whole: they are made `{}`. */
export function areWholeArguments(text: string): boolean {
  try {
    return text === "" || JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}
