// Chooses the place of a new request so that as much of its prompt as possible is in the KV cache already: in place when the
// sequence is idle, by copy when it is running. Only within a scope. Decides; moving tokens is sequences.ts's work.
import type { GenerationRequest } from "./engine.ts";
import type { Sequence } from "./sequences.ts";

export type Placement = {
  readonly sequence: Sequence;
  /** Prompt tokens that need not be evaluated; fewer than the prompt has. */
  readonly reused: number;
  /** The sequence that holds them, when it is not `sequence` itself. */
  readonly source?: Sequence;
};

/** Fewer common tokens than these are evaluated sooner than copied, and are not worth waiting for. */
const worthCopying = 32;

type Match = { readonly sequence: Sequence; readonly tokens: number };

/**
 * @returns undefined: no place is free; "later": a running request is about to evaluate the beginning of this prompt
 */
export function choosePlace(
  request: GenerationRequest,
  sequences: readonly Sequence[],
  reuse: boolean,
): Placement | "later" | undefined {
  const free = sequences.filter((sequence) => !sequence.generation);
  if (free.length === 0) return undefined;
  // What is not evaluated has no log-probabilities.
  const mayReuse = reuse && request.cacheScope !== null && request.promptLogprobs === undefined;
  const best = mayReuse ? bestMatch(request, sequences) : undefined;
  if (mayReuse && commonSoon(request, sequences) >= (best?.tokens ?? 0) + worthCopying) return "later";
  if (!best) return { sequence: leastValuable(free), reused: 0 };
  if (!best.sequence.generation && keepsMost(best, free)) return { sequence: best.sequence, reused: best.tokens };
  const others = free.filter((sequence) => sequence !== best.sequence);
  const sequence = leastValuable(others);
  if (best.tokens < worthCopying) return { sequence, reused: 0 };
  return { sequence, reused: best.tokens, source: best.sequence };
}

/** Taking it over costs what its cache holds beyond the match: only when that is the smaller part, or nothing else is free. */
function keepsMost(match: Match, free: readonly Sequence[]): boolean {
  return free.length === 1 || match.tokens * 2 >= match.sequence.length;
}

/** Empty places first, lowest id first; then the least recently used. */
function leastValuable(free: readonly Sequence[]): Sequence {
  const order = (sequence: Sequence) => (sequence.length === 0 ? -1 : sequence.lastUsed);
  return free.reduce((best, sequence) => (order(sequence) < order(best) ? sequence : best));
}

function bestMatch({ prompt, cacheScope }: GenerationRequest, sequences: readonly Sequence[]): Match | undefined {
  let best: Match | undefined;
  for (const sequence of sequences) {
    if (sequence.scope !== cacheScope) continue;
    const limit = Math.min(sequence.length, prompt.length - 1);
    const tokens = commonPrefix(sequence.tokens, prompt, limit);
    if (tokens > 0 && tokens > (best?.tokens ?? 0)) best = { sequence, tokens };
  }
  return best;
}

/** Tokens of this prompt's beginning that a running request has in its prompt and not yet in the cache. */
function commonSoon({ prompt, cacheScope }: GenerationRequest, sequences: readonly Sequence[]): number {
  let most = 0;
  for (const { generation, scope } of sequences) {
    if (!generation?.prefilling || scope !== cacheScope) continue;
    const other = generation.request.prompt;
    most = Math.max(most, commonPrefix(other, prompt, Math.min(other.length, prompt.length - 1)));
  }
  return most;
}

/** Length of the common beginning, `limit` at most. */
function commonPrefix(a: Int32Array, b: Int32Array, limit: number): number {
  let length = 0;
  while (length < limit && a[length] === b[length]) length++;
  return length;
}
