// Which failures are refusals for now, and what they count as in admission_rejections_total.
import type { Failure, FailureKind } from "../errors.ts";
import type { RejectionReason } from "./engine-metrics.ts";

const reasons: { readonly [K in FailureKind]?: RejectionReason } = {
  rate_limit_exceeded: "rpm",
  token_rate_limit_exceeded: "tpm",
  concurrency_limit_exceeded: "concurrency",
  queue_full: "queue_full",
  queued_tokens_full: "queued_tokens",
  queue_timeout: "queue_timeout",
  loading: "loading",
  draining: "draining",
};

/** @returns undefined for failures that are no such refusal */
export function rejectionOf(failure: Failure): RejectionReason | undefined {
  return reasons[failure.kind];
}
