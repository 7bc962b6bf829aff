// The places in the batch. A free place is given lowest id first, because only sequences with consecutive, increasing ids share
// a compute pass when each has a KV stream of its own (llama_batch_allocr::split_equal).
import type { NativeContext } from "./addon.ts";
import type { Generation } from "./generation.ts";

export class Sequence {
  readonly id: number;
  /** Tokens in the KV cache, at positions 0 to length - 1. */
  length = 0;
  generation: Generation | undefined;

  constructor(id: number) {
    this.id = id;
  }
}

export class Sequences {
  readonly all: readonly Sequence[];
  readonly #context: NativeContext;

  constructor(context: NativeContext, count: number) {
    this.#context = context;
    this.all = Array.from({ length: count }, (_, id) => new Sequence(id));
  }

  get running(): number {
    return this.all.reduce((count, sequence) => count + (sequence.generation ? 1 : 0), 0);
  }

  /** Gives the generation the lowest free place. False when there is none. */
  assign(generation: Generation): boolean {
    const sequence = this.all.find((candidate) => !candidate.generation);
    if (!sequence) return false;
    const { sampling, prompt, maxTokens } = generation.request;
    if (maxTokens > 0) this.#context.setSampler(sequence.id, sampling, prompt);
    sequence.generation = generation;
    generation.start(sequence);
    return true;
  }

  /** Takes the place back and empties it. Idempotent. */
  release(generation: Generation): void {
    const sequence = generation.sequence;
    if (!sequence) return;
    generation.sequence = undefined;
    sequence.generation = undefined;
    this.#context.clearSampler(sequence.id);
    this.#context.removeTokens(sequence.id, -1, -1);
    sequence.length = 0;
  }

  /** Drops what lies behind the sequence's own tokens: the trace of a throwaway token. */
  dropTail(sequence: Sequence): void {
    if (sequence.length === 0) this.#context.removeTokens(sequence.id, -1, -1);
    else this.#context.removeTokens(sequence.id, sequence.length, -1);
  }
}
