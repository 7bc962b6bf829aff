// Keeps the decoding sequences together. With a KV stream for each, llama.cpp computes only neighbours in one pass: an idle place
// between them costs a throwaway token, a wide gap of them one more pass, and that at every step. Moving a sequence is a copy of its
// stream, which takes about as long as a few passes. Decides; moving is sequences.ts's work.
import { isLessValuable } from "./sequence-value.ts";
import type { Sequence } from "./sequences.ts";

export type Move = { readonly from: Sequence; readonly to: Sequence };

/** An answer that has fewer tokens left is over before the copy has paid. */
const leastRemaining = 16;

export type GapCosts = {
  /** Idle places in a row that are filled with throwaway tokens; 0 = none. A wider gap costs a pass. */
  readonly gap: number;
  /** What one more pass costs, in tokens more in a pass; 0: nothing, as without streams. */
  readonly passTokens: number;
};

/**
 * The lowest or the highest decoding sequence may move to where it saves most, if that is at least half a pass.
 * @returns undefined: all may stay where they are
 */
export function chooseMove(sequences: readonly Sequence[], costs: GapCosts): Move | undefined {
  if (costs.passTokens === 0) return undefined;
  const running = sequences.filter(({ generation }) => generation).map(({ id }) => id);
  const ends = new Set([running[0], running.at(-1)]);
  const idle = sequences.filter(({ generation, pending }) => !generation && !pending);
  const before = cost(running, costs);
  let best: Move | undefined;
  let most = costs.passTokens / 2;
  for (const from of sequences) {
    if (!ends.has(from.id) || !movable(from)) continue;
    const others = running.filter((id) => id !== from.id);
    for (const to of idle) {
      const saved = before - cost(insert(others, to.id), costs);
      if (saved < most || (best && saved === most && !isLessValuable(to, best.to))) continue;
      most = saved;
      best = { from, to };
    }
  }
  return best;
}

function movable({ generation, copied }: Sequence): boolean {
  return generation !== undefined && !generation.prefilling && !copied && generation.remaining >= leastRemaining;
}

/** What the gaps cost a step, in tokens. @param ids ascending */
function cost(ids: readonly number[], { gap, passTokens }: GapCosts): number {
  let tokens = 0;
  for (let i = 1; i < ids.length; i++) {
    const idle = ids[i]! - ids[i - 1]! - 1;
    tokens += idle > gap ? passTokens : idle;
  }
  return tokens;
}

function insert(ids: readonly number[], id: number): number[] {
  const at = ids.findIndex((other) => other > id);
  return at === -1 ? [...ids, id] : [...ids.slice(0, at), id, ...ids.slice(at)];
}
