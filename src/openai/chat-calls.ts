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
  /** Calls so far, and whether they have arguments. */
  readonly #calls = new Map<number, boolean>();

  get any(): boolean {
    return this.#calls.size > 0;
  }

  /** One or two `tool_calls` deltas: who is called, then the next piece of the arguments. */
  of({ index, name = "", arguments: text }: CallPart): object[] {
    const deltas: object[] = [];
    if (!this.#calls.has(index)) {
      this.#calls.set(index, false);
      deltas.push({ index, id: newId("call_"), type: "function", function: { name, arguments: "" } });
    }
    if (text === "") return deltas;
    this.#calls.set(index, true);
    return [...deltas, { index, function: { arguments: text } }];
  }

  /** What calls without arguments lack. */
  end(finish: Finish): object[] {
    const empty = [...this.#calls].filter(([, hasArguments]) => !hasArguments);
    return empty.flatMap(([index]) => (isComplete(finish) ? [{ index, function: { arguments: "{}" } }] : []));
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
    function: { name, arguments: text || (isComplete(finish) ? "{}" : "") },
  }));
}

/** @param called the answer holds a call */
export function finishReason(finish: Finish, called: boolean): string {
  return called && isComplete(finish) ? "tool_calls" : finish.reason;
}

const isComplete = ({ reason }: Finish): boolean => reason === "stop";
