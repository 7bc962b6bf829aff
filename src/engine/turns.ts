// Whose turn a step is. llama.cpp computes a batch with one setting of its LoRA adapters, so requests of different scales take turns,
// step by step: none waits for more than one step of each other setting, however many requests use it.
import type { Sequence } from "./sequences.ts";

export class Turns {
  /** Settings that have work; whoever waits longest is first. */
  readonly #queue = new Set<string>();

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
    for (const lora of this.#queue) if (!groups.has(lora)) this.#queue.delete(lora);
    for (const lora of groups.keys()) this.#queue.add(lora);
    const [first] = this.#queue;
    if (first === undefined) return new Set();
    this.#queue.delete(first);
    this.#queue.add(first);
    return groups.get(first)!;
  }
}
