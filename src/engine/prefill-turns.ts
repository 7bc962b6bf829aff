// Whose prompt is evaluated next: keys share prefill evenly, whatever the number and length of their prompts. Within a key the first
// to come answers first. Decides the order only; how much fits is batch.ts's matter.
import type { Sequence } from "./sequences.ts";

const keyOf = (sequence: Sequence): string => sequence.generation!.request.caller?.keyId ?? "";

export class PrefillTurns {
  /** Prompt tokens that each key with an unfinished prompt got, on a common scale. */
  readonly #served = new Map<string, number>();

  /** Orders sequences whose prompt is unfinished: first the key that got least. Keys without one are forgotten. */
  sort(prefilling: Sequence[]): void {
    this.#admit(new Set(prefilling.map(keyOf)));
    const served = (sequence: Sequence) => this.#served.get(keyOf(sequence))!;
    prefilling.sort((a, b) => served(a) - served(b) || a.generation!.order - b.generation!.order);
  }

  took(sequence: Sequence, tokens: number): void {
    const key = keyOf(sequence);
    this.#served.set(key, this.#served.get(key)! + tokens);
  }

  /** Who comes new starts level with who got least, so that it neither waits for the others' past nor makes them wait for its own. */
  #admit(keys: ReadonlySet<string>): void {
    for (const key of this.#served.keys()) if (!keys.has(key)) this.#served.delete(key);
    const least = Math.min(...this.#served.values());
    for (const key of keys) if (!this.#served.has(key)) this.#served.set(key, Number.isFinite(least) ? least : 0);
  }
}
