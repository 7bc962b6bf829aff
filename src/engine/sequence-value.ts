// Which idle sequence is given up first when a place is needed: what its cache is worth to later requests.
import type { Sequence } from "./sequences.ts";

/** Empty places first, lowest id first; then the least recently used. @param idle at least one */
export function leastValuable(idle: readonly Sequence[]): Sequence {
  return idle.reduce((best, sequence) => (isLessValuable(sequence, best) ? sequence : best));
}

/** Of idle places: empty ones first, then the least recently used. */
export function isLessValuable(a: Sequence, b: Sequence): boolean {
  const order = ({ length, lastUsed }: Sequence) => (length === 0 ? Number.NEGATIVE_INFINITY : lastUsed);
  return order(a) < order(b);
}
