// Where the evaluation of one prompt has to stop on its way, so that its state can be kept there (checkpoints.ts).

/** Each costs a step of its own and a copy of the state. */
const mostStops = 4;

export class PrefillStops {
  /** Lengths of the prompt, ascending; those behind are gone. */
  #lengths: readonly number[];

  constructor(lengths: readonly number[]) {
    this.#lengths = lengths;
  }

  get next(): number | undefined {
    return this.#lengths[0];
  }

  /**
   * Where the state will be kept for another prompt that has the first `length` tokens: at the last stop within them that is not behind,
   * else at a new one. 0 = nowhere.
   * @param evaluated tokens that are behind
   */
  shareWithin(length: number, evaluated: number): number {
    const stop = this.#lengths.findLast((one) => one <= length);
    if (stop !== undefined) return stop;
    if (length <= evaluated || this.#lengths.length >= mostStops) return 0;
    this.#lengths = [length, ...this.#lengths];
    return length;
  }

  /** Whether the prefill is at a stop; it goes on then. */
  reach(evaluated: number): boolean {
    if (this.#lengths[0] !== evaluated) return false;
    this.#lengths = this.#lengths.slice(1);
    return true;
  }
}
