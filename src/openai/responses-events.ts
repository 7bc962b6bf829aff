// The answer of /v1/responses as the events of a stream, or as one object with the same content (API.md section 11). Owns the order
// of the events, their sequence numbers and the items' ids and indices.
import type { AnswerPart, Measured, SampledLogprob } from "../engine/engine.ts";
import type { Failure } from "../errors.ts";
import type { AnswerForm, AnswerHead, ChoiceEvent, Finish } from "./answer.ts";
import { areWholeArguments } from "./chat-calls.ts";
import { toChatLogprobs } from "./chat-logprobs.ts";
import { newId } from "./ids.ts";
import {
  type ItemStatus,
  type OutputItem,
  type Progress,
  type ResponseEcho,
  renderItem,
  renderPart,
  renderResponse,
} from "./responses-object.ts";
import { toProgress, toTimings, withTimings } from "./timings.ts";
import { sumUsage } from "./usage.ts";

export type ResponseReport = {
  /** Timings go beside the final response. */
  readonly timings?: boolean;
  /** And into the deltas. */
  readonly timingsPerToken?: boolean;
  /** What `__verbose` holds beside it, if it was asked for. */
  readonly verbose?: object | undefined;
};

/** `type` names the event; the sequence number is added by #event(). */
type EventFields = { readonly type: string } & Record<string, unknown>;

export class ResponseAnswer implements AnswerForm {
  readonly #head: AnswerHead;
  readonly #echo: ResponseEcho;
  readonly #report: ResponseReport;
  #sequence = 0;
  #begun = false;
  /** Finished items. The open one, if there is one, comes after them. */
  readonly #output: object[] = [];
  #open: OutputItem | undefined;
  /** Index of the engine's call that the open item is. */
  #openCall: number | undefined;
  /** Of tokens that had no text of their own yet. */
  #logprobs: SampledLogprob[] = [];
  #reply: object | undefined;
  /** What came with the last delta. */
  #soFar: Measured | undefined;

  constructor(head: AnswerHead, echo: ResponseEcho, report: ResponseReport = {}) {
    this.#head = head;
    this.#echo = echo;
    this.#report = report;
  }

  chunks({ event }: ChoiceEvent): object[] {
    const events = this.opening();
    if (event.type === "finish") return [...events, ...this.#finish(event)];
    if (event.type === "prompt") return events;
    if (event.type === "progress") {
      const response = this.#render({ status: "in_progress" });
      return [...events, this.#event({ type: "response.in_progress", response, ...toProgress(event, false) })];
    }
    this.#soFar = event.soFar;
    this.#logprobs.push(...(event.logprobs ?? []));
    for (const part of event.parts) events.push(...this.#add(part));
    return events;
  }

  /** A plain answer is what its stream would have ended with. */
  observe(item: ChoiceEvent): void {
    this.chunks(item);
  }

  /** @throws Error when the answer has not finished */
  reply(): object {
    if (!this.#reply) throw new Error("a response ended without a finish event");
    return this.#reply;
  }

  usageChunk(): never {
    throw new Error("a response tells its usage in its last event");
  }

  /** response.created and response.in_progress, the first time. */
  opening(): object[] {
    if (this.#begun) return [];
    this.#begun = true;
    const response = this.#render({ status: "in_progress" });
    return [
      this.#event({ type: "response.created", response }),
      this.#event({ type: "response.in_progress", response }),
    ];
  }

  /** For clients that time silence by events. */
  keepalive(): object {
    return this.#event({ type: "keepalive" });
  }

  /** The last two events. Items that were begun get no `done`: nobody is to act on half a call. */
  failure(failure: Failure): object[] {
    const error = failure.toErrorObject();
    const { code, message, param } = error;
    if (this.#open) this.#output.push(renderItem(this.#open, "incomplete"));
    const response = this.#render({ status: "failed", error });
    return [
      ...this.opening(),
      this.#event({ type: "error", code, message, param, error }),
      this.#event({ type: "response.failed", response }),
    ];
  }

  #add(part: AnswerPart): object[] {
    const events = this.#continues(part) ? [] : [...this.#close("completed"), ...this.#begin(part)];
    const delta = part.kind === "tool_call" ? part.arguments : part.text;
    return delta === "" ? events : [...events, this.#delta(this.#open!, delta)];
  }

  /** Log-probabilities are told of text alone: those of thinking and of calls are dropped. */
  #delta(item: OutputItem, delta: string): object {
    item.text += delta;
    const place = this.#place(item);
    const logprobs = toChatLogprobs(this.#logprobs, false)?.content ?? [];
    this.#logprobs = [];
    const told = withTimings({ ...place, delta }, this.#report.timingsPerToken && this.#soFar);
    if (item.kind === "reasoning") return this.#event({ type: "response.reasoning_text.delta", ...told });
    if (item.kind === "tool_call") return this.#event({ type: "response.function_call_arguments.delta", ...told });
    item.logprobs.push(...logprobs);
    return this.#event({ type: "response.output_text.delta", ...told, logprobs });
  }

  #continues(part: AnswerPart): boolean {
    if (part.kind !== this.#open?.kind) return false;
    return part.kind !== "tool_call" || part.index === this.#openCall;
  }

  #begin(part: AnswerPart): object[] {
    const item = createItem(part);
    this.#open = item;
    this.#openCall = part.kind === "tool_call" ? part.index : undefined;
    const added = {
      type: "response.output_item.added",
      output_index: this.#output.length,
      item: renderItem(item, "in_progress"),
    };
    const events = [this.#event(added)];
    if (item.kind !== "tool_call") {
      const part = renderPart(item, true);
      events.push(this.#event({ type: "response.content_part.added", ...this.#place(item), part }));
    }
    return events;
  }

  #close(status: ItemStatus): object[] {
    const item = this.#open;
    if (!item) return [];
    const place = this.#place(item);
    const events: object[] = [];
    if (item.kind === "tool_call") {
      // A call that is complete has arguments.
      if (item.text === "" && status === "completed") events.push(this.#delta(item, "{}"));
      const { name, text } = item;
      events.push(this.#event({ type: "response.function_call_arguments.done", ...place, name, arguments: text }));
    } else {
      const part = renderPart(item);
      if (item.kind === "reasoning") {
        events.push(this.#event({ type: "response.reasoning_text.done", ...place, text: item.text }));
      } else {
        const { text, logprobs } = item;
        events.push(this.#event({ type: "response.output_text.done", ...place, text, logprobs }));
      }
      events.push(this.#event({ type: "response.content_part.done", ...place, part }));
    }
    const rendered = renderItem(item, status);
    const output_index = this.#output.length;
    events.push(this.#event({ type: "response.output_item.done", output_index, item: rendered }));
    this.#output.push(rendered);
    this.#open = undefined;
    return events;
  }

  /** An answer without a token of text is an empty message. */
  #finish(finish: Finish): object[] {
    const status = finish.reason === "length" ? "incomplete" : "completed";
    const events = this.#open || this.#output.length > 0 ? [] : this.#begin({ kind: "content", text: "" });
    // Tokens without text of their own, and no text after them.
    if (this.#open?.kind === "content" && this.#logprobs.length > 0) events.push(this.#delta(this.#open, ""));
    events.push(...this.#close(this.#isHalfCall(finish) ? "incomplete" : status));
    const response = this.#render({ status, usage: sumUsage([finish.usage], 1) });
    const { timings, verbose } = this.#report;
    const report = { ...(timings && { timings: toTimings(finish) }), ...(verbose && { __verbose: verbose }) };
    this.#reply = { ...response, ...report };
    return [...events, this.#event({ type: `response.${status}`, response, ...report })];
  }

  /** A stop string in the middle of a call ends the answer, but nobody is to act on the call. */
  #isHalfCall({ stopString }: Finish): boolean {
    return stopString !== null && this.#open?.kind === "tool_call" && !areWholeArguments(this.#open.text);
  }

  /** Where in the output the open item is. */
  #place(item: OutputItem): Record<string, unknown> {
    const place = { item_id: item.id, output_index: this.#output.length };
    return item.kind === "tool_call" ? place : { ...place, content_index: 0 };
  }

  #render(progress: Progress): object {
    return renderResponse(this.#head, this.#echo, [...this.#output], progress);
  }

  #event({ type, ...fields }: EventFields): object {
    return { type, sequence_number: this.#sequence++, ...fields };
  }
}

function createItem(part: AnswerPart): OutputItem {
  if (part.kind === "tool_call") {
    return { kind: "tool_call", id: newId("fc_"), callId: newId("call_"), name: part.name ?? "", text: "" };
  }
  if (part.kind === "reasoning") return { kind: "reasoning", id: newId("rs_"), text: "" };
  return { kind: "content", id: newId("msg_"), text: "", logprobs: [] };
}
