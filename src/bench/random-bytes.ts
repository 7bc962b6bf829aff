// Fast reproducible noise: a xorshift generator whose state comes from a seed and a stream number. Not for secrets.

export class RandomBytes {
  #state: number;

  /** Different streams of one seed are independent, so the order in which tensors are written does not matter. */
  constructor(seed: number, stream: number) {
    let mixed = Math.imul(seed ^ Math.imul(stream + 1, 0x9e3779b1), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    // Zero is the one state that a xorshift never leaves.
    this.#state = mixed ^ (mixed >>> 16) || 1;
  }

  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** Signed bytes from -127 to 127; -128 is left out because kernels negate values. */
  fill(target: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += 4) {
      const word = this.next();
      for (let byte = 0; byte < 4 && at + byte < end; byte += 1) {
        const value = (word >>> (8 * byte)) & 0xff;
        target[at + byte] = value === 0x80 ? 0x81 : value;
      }
    }
  }

  /** A whole number from 0 to limit - 1. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }
}
