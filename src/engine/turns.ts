// Whose turn a step is. llama.cpp computes a batch with one setting of its LoRA adapters, so requests of different scales take turns:
// none waits for more than one turn of each other setting, however many requests use it.
import type { Sequence } from "./sequences.ts";

/** After a change llama.cpp plans its graphs anew, for about the time of a small model's step. */
export const stepsPerTurn = 4;

export class Turns {
  /** Settings that have work; the first one's turn it is, then whoever waits longest is next. */
  readonly #queue = new Set<string>();
  /** That the current turn has had. */
  #steps = 0;

  /** The running requests that share the next step; those of other settings sit it out. */
  next(sequences: readonly Sequence[]): ReadonlySet<Sequence> {
    const groups = new Map<string, Set<Sequence>>();
    for (const sequence of sequences) {
      if (!sequence.generation || sequence.generation.stalled) continue;
      const { lora } = sequence.generation;
      const group = groups.get(lora);
      if (group) group.add(sequence);
      else groups.set(lora, new Set([sequence]));
    }
    const [before] = this.#queue;
    for (const lora of this.#queue) if (!groups.has(lora)) this.#queue.delete(lora);
    for (const lora of groups.keys()) this.#queue.add(lora);
    if (before !== undefined && groups.has(before) && this.#steps >= stepsPerTurn) this.#moveBack(before);
    const [first] = this.#queue;
    if (first === undefined) return new Set();
    this.#steps = first === before && this.#steps < stepsPerTurn ? this.#steps + 1 : 1;
    return groups.get(first)!;
  }

  #moveBack(lora: string): void {
    this.#queue.delete(lora);
    this.#queue.add(lora);
  }
}
