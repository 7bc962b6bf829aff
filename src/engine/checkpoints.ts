// Copies of what sequences held at an earlier length, for models whose memory cannot be cut back to it: a sliding window forgets, a
// recurrent state belongs to one length. Kept in RAM up to a bound, least recently used first out. Copies run between steps only.
import type { Logger } from "../telemetry/log.ts";
import type { NativeContext } from "./addon.ts";
import type { Sequence } from "./sequences.ts";

export type Checkpoint = {
  /** Tokens the sequence held. */
  readonly length: number;
  /** The part of its state that cannot be cut; keys and values of every token stay in the sequence. */
  readonly state: Uint8Array;
};

export type CheckpointsOptions = {
  readonly context: NativeContext;
  readonly sequences: readonly Sequence[];
  /** All checkpoints together. */
  readonly maxBytes: number;
  readonly log: Logger;
};

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  /** Counts up with every use. */
  readonly #lastUsed = new Map<Checkpoint, number>();
  #uses = 0;
  #off = false;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  /** Sequences were given checkpoints that must be put back before the next step. */
  get pending(): boolean {
    return this.#options.sequences.some((sequence) => sequence.pending !== undefined);
  }

  async loadPending(): Promise<void> {
    for (const sequence of this.#options.sequences) if (sequence.pending) await this.#load(sequence, sequence.pending);
  }

  async #load(sequence: Sequence, checkpoint: Checkpoint): Promise<void> {
    const { context, log } = this.#options;
    const { id } = sequence;
    sequence.pending = undefined;
    this.#lastUsed.set(checkpoint, ++this.#uses);
    const loaded = await context.loadState(id, checkpoint.state, true).catch((error: unknown) => {
      log.warn({ err: error }, "a checkpoint could not be put back");
      return false;
    });
    if (loaded && context.removeTokens(id, checkpoint.length, -1)) return;
    log.warn({ sequence: id }, "a checkpoint was not accepted; the prompt is evaluated from its beginning");
    context.removeTokens(id, -1, -1);
    sequence.clear();
    sequence.generation?.loseCache();
  }

  /** Keeps the states of the sequences whose prefill has just reached one of its stops. */
  async saveReached(sequences: Iterable<Sequence>): Promise<void> {
    const { context, maxBytes, log } = this.#options;
    for (const sequence of sequences) {
      if (!sequence.generation?.reachStop() || this.#off) continue;
      try {
        const state = await context.saveState(sequence.id, true, maxBytes);
        if (state) this.#keep(sequence, { length: sequence.length, state });
        else this.#giveUp();
      } catch (error) {
        log.warn({ err: error }, "a checkpoint could not be made");
      }
    }
  }

  #giveUp(): void {
    this.#off = true;
    const { maxBytes, log } = this.#options;
    log.warn({ maxBytes }, "a checkpoint of this model is larger than all may be together; none are kept");
  }

  #keep(sequence: Sequence, checkpoint: Checkpoint): void {
    sequence.checkpoints = [...sequence.checkpoints.filter(({ length }) => length !== checkpoint.length), checkpoint];
    this.#lastUsed.set(checkpoint, ++this.#uses);
    this.#evict();
  }

  /** Forgets those no sequence has any more, then the least recently used until the rest is within the bound. */
  #evict(): void {
    const { sequences, maxBytes } = this.#options;
    const held = new Set(sequences.flatMap(({ checkpoints }) => checkpoints));
    for (const checkpoint of this.#lastUsed.keys()) if (!held.has(checkpoint)) this.#lastUsed.delete(checkpoint);
    let bytes = [...held].reduce((sum, { state }) => sum + state.byteLength, 0);
    const oldestFirst = [...held].sort((a, b) => (this.#lastUsed.get(a) ?? 0) - (this.#lastUsed.get(b) ?? 0));
    for (const checkpoint of oldestFirst) {
      if (bytes <= maxBytes) return;
      bytes -= checkpoint.state.byteLength;
      this.#lastUsed.delete(checkpoint);
      for (const sequence of sequences) {
        sequence.checkpoints = sequence.checkpoints.filter((one) => one !== checkpoint);
      }
    }
  }
}
