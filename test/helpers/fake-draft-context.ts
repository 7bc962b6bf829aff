// A NativeDraftContext that guesses a text of 0, 1, 2 and so on, and refuses what the addon would refuse.
import type { NativeDraft, NativeDraftContext, NativeDraftRequest, NativeMemory } from "../../src/engine/addon.ts";

export class FakeDraftContext implements NativeDraftContext {
  readonly asked: NativeDraftRequest[][] = [];
  /** Tokens that every sequence holds. */
  readonly lengths: number[];
  /** Guesses after which it is sure of nothing more. */
  sureOf = Number.POSITIVE_INFINITY;
  /** What is guessed at a position; by default its number. */
  guess = (position: number) => position;
  failure: Error | undefined;
  readonly #batchTokens: number;

  constructor(sequences: number, batchTokens: number) {
    this.lengths = new Array(sequences).fill(0);
    this.#batchTokens = batchTokens;
  }

  async draft(requests: readonly NativeDraftRequest[]): Promise<NativeDraft[]> {
    this.asked.push([...requests]);
    const tokens = requests.reduce((sum, { read }) => sum + read.length, 0);
    if (requests.length === 0 || tokens > this.#batchTokens)
      throw new Error(`${tokens} tokens of ${requests.length} texts`);
    if (requests.some(({ sequence }, i) => i > 0 && sequence <= requests[i - 1]!.sequence))
      throw new Error("out of order");
    if (this.failure) throw this.failure;
    return requests.map((request) => this.#draft(request));
  }

  memory(): NativeMemory {
    return { modelBytes: 0, contextBytes: 0, computeBytes: 0 };
  }

  dispose(): void {}

  /** What was guessed is decoded, but for a last guess that nothing was to follow. */
  #draft({ sequence, keep, read, most }: NativeDraftRequest): NativeDraft {
    if (keep > this.lengths[sequence]!) throw new Error(`sequence ${sequence} holds less than ${keep} tokens`);
    const end = keep + read.length;
    const guesses = Int32Array.from({ length: Math.min(most, this.sureOf) }, (_, i) => this.guess(end + 1 + i));
    this.lengths[sequence] = most === 0 ? end : end + 1 + Math.min(guesses.length, most - 1);
    return { guesses, length: this.lengths[sequence]! };
  }
}
