// How a failure is written, depending on who asked: OpenAI's error object, or Anthropic's form below /v1/messages (API.md
// section 3). Decides by kind, status and path; never by a message's text.
import type { Failure, FailureKind } from "../errors.ts";

export type FailureAnswer = {
  readonly status: number;
  /** Compact JSON. */
  readonly body: string;
};

/** @param target a request target or a path @returns whether Anthropic's clients call it */
export function speaksAnthropic(target: string): boolean {
  return /^(https?:\/\/[^/?#]*)?\/v1\/messages(?=[/?#]|$)/i.test(target);
}

/** @param target a request target or a path */
export function failureAnswer(failure: Failure, target: string, requestId: string): FailureAnswer {
  if (!speaksAnthropic(target)) {
    return { status: failure.status, body: JSON.stringify({ error: failure.toErrorObject() }) };
  }
  const body = JSON.stringify({ ...anthropicError(failure), request_id: requestId });
  return { status: overloaded.has(failure.kind) ? 529 : failure.status, body };
}

/** The whole answer but for the request's id, and the JSON of an `error` event. */
export function anthropicError(failure: Failure): { readonly type: "error"; readonly error: object } {
  const { type: _, message: __, ...members } = failure.toErrorObject();
  return { type: "error", error: { type: typeOf(failure.status), message: messageOf(failure), ...members } };
}

/** Anthropic's own status for them is 529. */
const overloaded: ReadonlySet<FailureKind> = new Set<FailureKind>([
  "queue_full",
  "queued_tokens_full",
  "queue_timeout",
]);

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  408: "timeout_error",
  413: "request_too_large",
  429: "rate_limit_error",
  500: "api_error",
  503: "overloaded_error",
  504: "timeout_error",
};

function typeOf(status: number): string {
  return types[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
}

/** Begins with the path in Anthropic's notation, `messages.2.content.0`, if it is one of the body's. */
function messageOf(failure: Failure): string {
  const { kind, message, param } = failure;
  if (kind === "context_length_exceeded") {
    // Agents take the numbers out of these words to compact their history.
    const { n_prompt_tokens, n_ctx } = failure.toErrorObject();
    return `prompt is too long: ${n_prompt_tokens} tokens > ${n_ctx} maximum`;
  }
  if (param === null || kind === "invalid_api_key") return message;
  return `${param.replace(/\[(\d+)\]/g, ".$1")}: ${message}`;
}
