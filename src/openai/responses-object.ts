// The `response` object and the items of its output (API.md section 11) as they stand at one moment of an answer.
import type { ErrorObject } from "../errors.ts";
import type { AnswerHead } from "./answer.ts";
import type { UsageObject } from "./usage.ts";

/** What of the request is told again in every `response`. */
export type ResponseEcho = {
  readonly instructions: string | null;
  readonly max_output_tokens: number | null;
  readonly metadata: object;
  readonly parallel_tool_calls: boolean;
  readonly reasoning: { readonly effort: string | null; readonly summary: null };
  readonly temperature: number;
  readonly text: object;
  readonly tool_choice: unknown;
  readonly tools: readonly unknown[];
  readonly top_p: number;
};

export type ItemStatus = "in_progress" | "completed" | "incomplete";

/** One item of the output while it grows. `id` stays the same in all its events. */
export type OutputItem =
  | { readonly kind: "reasoning"; readonly id: string; text: string }
  | { readonly kind: "content"; readonly id: string; text: string; readonly logprobs: object[] }
  | { readonly kind: "tool_call"; readonly id: string; readonly callId: string; readonly name: string; text: string };

/** How far the answer is. */
export type Progress =
  | { readonly status: "in_progress" }
  | { readonly status: "completed" | "incomplete"; readonly usage: UsageObject }
  | { readonly status: "failed"; readonly error: Pick<ErrorObject, "code" | "message"> };

/** @param output as renderItem() gives them */
export function renderResponse(
  head: AnswerHead,
  echo: ResponseEcho,
  output: readonly object[],
  progress: Progress,
): object {
  const { status } = progress;
  return {
    id: head.id,
    object: "response",
    created_at: head.created,
    completed_at: status === "completed" ? Math.floor(Date.now() / 1000) : null,
    status,
    background: false,
    error: status === "failed" ? { code: progress.error.code, message: progress.error.message } : null,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    instructions: echo.instructions,
    max_output_tokens: echo.max_output_tokens,
    metadata: echo.metadata,
    model: head.model,
    output,
    parallel_tool_calls: echo.parallel_tool_calls,
    previous_response_id: null,
    reasoning: echo.reasoning,
    store: false,
    temperature: echo.temperature,
    text: echo.text,
    tool_choice: echo.tool_choice,
    tools: echo.tools,
    top_p: echo.top_p,
    truncation: "disabled",
    usage: "usage" in progress ? renderUsage(progress.usage) : null,
  };
}

/** An item that is not begun yet has no content: status in_progress. */
export function renderItem(item: OutputItem, status: ItemStatus): object {
  const { id } = item;
  if (item.kind === "tool_call") {
    const { callId: call_id, name } = item;
    return { type: "function_call", id, call_id, name, arguments: status === "in_progress" ? "" : item.text, status };
  }
  const content = status === "in_progress" ? [] : [renderPart(item)];
  if (item.kind === "content") return { type: "message", id, role: "assistant", status, content };
  return { type: "reasoning", id, summary: [], content, encrypted_content: null, status };
}

/** The one part of a message or reasoning item. @param empty as it is when it is added */
export function renderPart(item: Exclude<OutputItem, { kind: "tool_call" }>, empty = false): object {
  const text = empty ? "" : item.text;
  if (item.kind === "reasoning") return { type: "reasoning_text", text };
  return { type: "output_text", text, annotations: [], logprobs: empty ? [] : item.logprobs };
}

function renderUsage(usage: UsageObject): object {
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: { cached_tokens: usage.prompt_tokens_details.cached_tokens },
    output_tokens: usage.completion_tokens,
    output_tokens_details: { reasoning_tokens: usage.completion_tokens_details.reasoning_tokens },
    total_tokens: usage.total_tokens,
  };
}
