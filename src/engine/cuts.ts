// How much of what a sequence holds can be used by a prompt that only begins alike: depends on the kind of memory its model has.
// Decides; cutting is sequences.ts's work.
import type { Checkpoint } from "./checkpoints.ts";
import type { Sequence } from "./sequences.ts";

/** A model whose memory is keys and values of every token has neither; it can be cut anywhere. */
export type MemoryKind = {
  /** Tokens that layers with a sliding window see; 0: there are no such layers. */
  readonly windowTokens: number;
  /** Layers keep a recurrent state: it belongs to one length and cannot be cut. */
  readonly recurrent: boolean;
};

export const plainMemory: MemoryKind = { windowTokens: 0, recurrent: false };

export type Cut = {
  /** What remains; 0 = nothing. */
  readonly tokens: number;
  /** What must be put back first. */
  readonly checkpoint?: Checkpoint;
};

const nothing: Cut = { tokens: 0 };

export type CutsOptions = {
  readonly memory: MemoryKind;
  /** Each sequence has a KV stream of its own. */
  readonly streams: boolean;
  /** The first position of a sequence that is in the memory of every layer. */
  readonly firstPosition: (sequence: number) => number;
};

export class Cuts {
  readonly #options: CutsOptions;

  constructor(options: CutsOptions) {
    this.#options = options;
  }

  /** A sequence can be cut back to any length. */
  get anywhere(): boolean {
    const { windowTokens, recurrent } = this.#options.memory;
    return windowTokens === 0 && !recurrent;
  }

  /** A copy of a sequence can be of use. */
  get copies(): boolean {
    // In one pool for all, cells that two sequences share are never given up when they leave the window: the pool would fill up.
    return this.#options.memory.windowTokens === 0 || this.#options.streams;
  }

  /** The most of its first `common` tokens that the sequence itself can go on from. */
  inPlace(sequence: Sequence, common: number): Cut {
    if (this.#reaches(sequence, common)) return { tokens: common };
    return latestCheckpoint(sequence, common);
  }

  /** The most of its first `common` tokens that a copy of it can go on from. */
  byCopy(sequence: Sequence, common: number): Cut {
    if (this.#options.memory.windowTokens === 0) return this.inPlace(sequence, common);
    // No checkpoint: llama.cpp copies a stream's cells with the next step, over what was put back before.
    return this.copies && this.#reaches(sequence, common) ? { tokens: common } : nothing;
  }

  #reaches(sequence: Sequence, common: number): boolean {
    if (this.anywhere || common === sequence.length) return true;
    const { memory, firstPosition } = this.#options;
    return !memory.recurrent && firstPosition(sequence.id) <= Math.max(0, common - memory.windowTokens);
  }
}

function latestCheckpoint(sequence: Sequence, common: number): Cut {
  let best: Checkpoint | undefined;
  for (const checkpoint of sequence.checkpoints) {
    if (checkpoint.length <= common && checkpoint.length > (best?.length ?? 0)) best = checkpoint;
  }
  return best ? { tokens: best.length, checkpoint: best } : nothing;
}
