// What a caller is told who is not let in now: the failure, and when to come back (CONTRACT.md section 6.1).
import { Failure } from "../errors.ts";
import type { Limits } from "../keys/key-ring.ts";

export function requestsUsedUp({ requestsPerMinute }: Limits, retryMs: number): Failure {
  return limited("rate_limit_exceeded", `${requestsPerMinute} requests per minute`, retryMs);
}

export function tokensUsedUp({ tokensPerMinute }: Limits, needed: number, retryMs: number): Failure {
  const limit = `${tokensPerMinute} tokens per minute, and this request reserves ${needed}`;
  return limited("token_rate_limit_exceeded", limit, retryMs);
}

export function tooManyAtOnce({ concurrentRequests }: Limits, retryMs: number): Failure {
  return limited("concurrency_limit_exceeded", `a concurrency of ${concurrentRequests} requests at once`, retryMs);
}

export function promptExceedsQuota({ tokensPerMinute }: Limits, promptTokens: number): Failure {
  const message = `The prompt came to ${promptTokens} tokens, but the limit of this key is ${tokensPerMinute} tokens per minute.`;
  return new Failure("request_exceeds_token_quota", message);
}

export function queueFull(retrySeconds: number): Failure {
  return serverBusy("queue_full", "Too many requests are waiting", retrySeconds);
}

export function queuedTokensFull(retrySeconds: number): Failure {
  return serverBusy("queued_tokens_full", "The waiting requests have too many prompt tokens", retrySeconds);
}

export function queueTimeout(waitedSeconds: number, retrySeconds: number): Failure {
  return serverBusy("queue_timeout", `The request waited ${waitedSeconds}s and its turn did not come`, retrySeconds);
}

function limited(
  kind: "rate_limit_exceeded" | "token_rate_limit_exceeded" | "concurrency_limit_exceeded",
  limit: string,
  retryMs: number,
): Failure {
  const ms = Math.max(1, Math.ceil(retryMs));
  const seconds = Math.ceil(ms / 1000);
  const headers = { "Retry-After": String(seconds), "retry-after-ms": String(ms) };
  return new Failure(kind, `The limit of this key is ${limit}, try again in ${seconds}s.`, { headers });
}

function serverBusy(
  kind: "queue_full" | "queued_tokens_full" | "queue_timeout",
  why: string,
  seconds: number,
): Failure {
  return new Failure(kind, `${why}, try again in ${seconds}s.`, { headers: { "Retry-After": String(seconds) } });
}
