// The x-ratelimit-* headers of an answer (CONTRACT.md section 6.1).
import { formatDuration } from "./duration.ts";

export type RateState = {
  readonly limit: number;
  readonly remaining: number;
  /** Until all of it is free again. */
  readonly resetMs: number;
};

/** @param tokens undefined: the key has no token quota */
export function rateHeaders(requests: RateState, tokens: RateState | undefined): Record<string, string> {
  return { ...triple("requests", requests), ...(tokens && triple("tokens", tokens)) };
}

function triple(kind: string, { limit, remaining, resetMs }: RateState): Record<string, string> {
  return {
    [`x-ratelimit-limit-${kind}`]: String(limit),
    [`x-ratelimit-remaining-${kind}`]: String(remaining),
    [`x-ratelimit-reset-${kind}`]: formatDuration(resetMs),
  };
}
