// Chooses the place of a new request so that as much of its prompt as possible is in the KV cache already: in place when the
// sequence is idle, by copy when it is running. Only within a scope. Decides; moving tokens is sequences.ts's work, and what a
// sequence can be cut back to is cuts.ts's.
import type { Checkpoint } from "./checkpoints.ts";
import type { Cuts } from "./cuts.ts";
import type { GenerationRequest } from "./engine.ts";
import { leastValuable } from "./sequence-value.ts";
import type { Sequence } from "./sequences.ts";

export type Placement = {
  readonly sequence: Sequence;
  /** Prompt tokens that need not be evaluated; fewer than the prompt has. */
  readonly reused: number;
  /** The sequence that holds them, when it is not `sequence` itself. */
  readonly source?: Sequence;
  /** What must be put back into the sequence so that it holds them. */
  readonly checkpoint?: Checkpoint | undefined;
  /** Lengths of the prompt at which a checkpoint is worth its copy, ascending. */
  readonly stops: readonly number[];
};

/** Fewer tokens than these are evaluated sooner than copied, and are not worth waiting for or keeping. */
const worthCopying = 32;
/**
 * The last checkpoint of a prompt lies so many tokens before its end: the same prompt must evaluate one, and a conversation's next turn
 * often differs from the last few, with which the template opens an answer.
 */
const beforeEnd = 4;

type Match = {
  readonly sequence: Sequence;
  /** What of the common tokens can be used, in place when the sequence is idle. */
  readonly tokens: number;
  /** All that prompt and sequence have in common. */
  readonly common: number;
  readonly checkpoint?: Checkpoint | undefined;
};

export type Choice = {
  /** False: nothing is reused. */
  readonly reuse: boolean;
  readonly cuts: Cuts;
};

/**
 * @returns undefined: no place is free; "later": a running request is about to evaluate the beginning of this prompt
 */
export function choosePlace(
  request: GenerationRequest,
  sequences: readonly Sequence[],
  { reuse, cuts }: Choice,
): Placement | "later" | undefined {
  const free = sequences.filter((sequence) => !sequence.generation);
  if (free.length === 0) return undefined;
  // What is not evaluated has no log-probabilities.
  const mayReuse = reuse && request.cacheScope !== null && request.promptLogprobs === undefined;
  if (!mayReuse) return { sequence: leastValuable(free), reused: 0, stops: [] };
  const matches = findMatches(request, sequences, cuts);
  const best = most(matches, ({ tokens }) => tokens);
  if (worthWaiting(request, sequences, cuts, (best?.tokens ?? 0) + worthCopying)) return "later";
  const place = placeFor(matches, best, free, cuts);
  const common = most(matches, (match) => match.common)?.common ?? 0;
  return { ...place, stops: cuts.anywhere ? [] : chooseStops(request.prompt.length, place.reused, common) };
}

function placeFor(
  matches: readonly Match[],
  best: Match | undefined,
  free: readonly Sequence[],
  cuts: Cuts,
): Omit<Placement, "stops"> {
  // What is given up anyway keeps its beginning where the prompt has the same one.
  const victim = leastValuable(free);
  const own = matches.find(({ sequence }) => sequence === victim);
  const overwritten = { sequence: victim, reused: own?.tokens ?? 0, checkpoint: own?.checkpoint };
  if (!best?.tokens) return overwritten;
  const { sequence: holder, tokens, checkpoint, common } = best;
  const inPlace = { sequence: holder, reused: tokens, checkpoint };
  if (!holder.generation && keepsMost(best, free)) return inPlace;
  const copy = cuts.byCopy(holder, common);
  if (!holder.generation && copy.tokens < tokens) return inPlace;
  if (holder === victim || copy.tokens < overwritten.reused + worthCopying) return overwritten;
  return { sequence: victim, reused: copy.tokens, source: holder, checkpoint: copy.checkpoint };
}

/**
 * Where memory cannot be cut, a prompt is evaluated up to these lengths and its state kept there: before its end, and where it leaves
 * what an earlier prompt had, because a third one may leave it there too.
 */
function chooseStops(promptTokens: number, reused: number, common: number): number[] {
  const end = promptTokens - beforeEnd;
  const stops = common < end ? [common, end] : [end];
  return stops.filter((stop) => stop >= reused + worthCopying);
}

/** Taking it over costs what its cache holds beyond the match: only when that is the smaller part, or nothing else is free. */
function keepsMost(match: Match, free: readonly Sequence[]): boolean {
  return free.length === 1 || match.tokens * 2 >= match.sequence.length;
}

function findMatches({ prompt, cacheScope }: GenerationRequest, sequences: readonly Sequence[], cuts: Cuts): Match[] {
  const matches: Match[] = [];
  for (const sequence of sequences) {
    if (sequence.scope !== cacheScope) continue;
    const common = commonPrefix(sequence.tokens, prompt, Math.min(sequence.length, prompt.length - 1));
    if (common === 0) continue;
    const cut = sequence.generation ? cuts.byCopy(sequence, common) : cuts.inPlace(sequence, common);
    matches.push({ sequence, common, tokens: cut.tokens, checkpoint: cut.checkpoint });
  }
  return matches;
}

/** The first of those with the largest value. */
function most<T>(items: readonly T[], value: (item: T) => number): T | undefined {
  return items.reduce<T | undefined>((best, item) => (best && value(best) >= value(item) ? best : item), undefined);
}

/**
 * A running request has so many tokens of this prompt's beginning in its own, and not yet in a cache that can be copied. Where memory
 * cannot be cut, it is told to keep its state where the prompts part.
 */
function worthWaiting(
  { prompt, cacheScope }: GenerationRequest,
  sequences: readonly Sequence[],
  cuts: Cuts,
  tokens: number,
): boolean {
  if (!cuts.copies) return false;
  return sequences.some(({ generation, scope }) => {
    if (!generation?.prefilling || scope !== cacheScope) return false;
    const other = generation.request.prompt;
    const common = commonPrefix(other, prompt, Math.min(other.length, prompt.length - 1));
    return common >= tokens && (cuts.anywhere || generation.stops.shareWithin(common, generation.evaluated) >= tokens);
  });
}

/** Length of the common beginning, `limit` at most. */
function commonPrefix(a: Int32Array, b: Int32Array, limit: number): number {
  let length = 0;
  while (length < limit && a[length] === b[length]) length++;
  return length;
}
