// Plans one step: which tokens of which sequences go into the batch, in id order. One token for every decoding sequence, then
// prompt tokens up to a budget, then throwaway tokens in small gaps so that one compute pass serves both sides of them.
import type { BatchBuffers } from "./addon.ts";
import type { Generation } from "./generation.ts";
import { rowLength } from "./logprobs.ts";
import { PrefillTurns } from "./prefill-turns.ts";
import type { Sequence } from "./sequences.ts";

/** A token to be sampled for a generation, or one of its prompt to be scored. */
type Output = { readonly generation: Generation; readonly scored: boolean };
type Entry = { readonly sequence: Sequence; readonly generation: Generation; readonly tokens: number };

export type BatchLimits = {
  /** Prompt tokens allowed in this step beside decoding sequences. */
  readonly prefillTokens: number;
  /**
   * Only chunks of one length go into a step. With a KV stream per sequence, only equally many tokens of each share a pass, so
   * chunks of different lengths would cost more passes together than one after the other.
   */
  readonly equalChunks: boolean;
  /** Idle sequences in a row that are filled; 0 = never. */
  readonly gap: number;
  /** Positions a sequence has. */
  readonly contextTokens: number;
};

export class Batch {
  /** Tokens in the batch. */
  count = 0;
  /** Prompt tokens among them. */
  prefillTokens = 0;
  /** Sequences that decode one token. */
  decoding = 0;
  /** Compute passes that those take. */
  decodePasses = 0;
  readonly entries: Entry[] = [];
  /** What each output of the step is, in batch order. */
  readonly outputs: Output[] = [];
  /** Sequences that got a throwaway token, to be dropped after the step. */
  readonly fillers: Sequence[] = [];
  readonly #buffers: BatchBuffers;
  readonly #turns = new PrefillTurns();

  constructor(buffers: BatchBuffers) {
    this.#buffers = buffers;
  }

  get capacity(): number {
    return this.#buffers.tokens.length;
  }

  plan(sequences: readonly Sequence[], limits: BatchLimits): void {
    this.#clear();
    const chunks = this.#chunks(sequences, limits);
    this.#findFillers(sequences, chunks, limits);
    const fillers = new Set(this.fillers);
    let joined = false;
    for (const sequence of sequences) {
      const tokens = chunks.get(sequence);
      const single = tokens !== undefined ? !sequence.generation!.prefilling : fillers.has(sequence);
      // Without streams one pass takes them all.
      if (single && (limits.equalChunks ? !joined : this.decodePasses === 0)) this.decodePasses++;
      joined = single;
      if (tokens !== undefined) this.#add(sequence, tokens);
      else if (single) this.#put(0, sequence.length, sequence.id);
    }
  }

  /** Idle sequences between two that decode, where there are few enough: with them all of these share a pass. */
  #findFillers(
    sequences: readonly Sequence[],
    chunks: Map<Sequence, number>,
    { gap, contextTokens }: BatchLimits,
  ): void {
    let idle: Sequence[] | undefined;
    let room = this.capacity - [...chunks.values()].reduce((sum, tokens) => sum + tokens, 0);
    for (const sequence of sequences) {
      if (!chunks.has(sequence)) idle?.push(sequence);
      else if (!sequence.generation!.prefilling) {
        const fits = idle !== undefined && idle.length <= Math.min(gap, room);
        if (fits && idle!.every(({ length }) => length < contextTokens)) {
          this.fillers.push(...idle!);
          room -= idle!.length;
        }
        idle = [];
      }
    }
  }

  #clear(): void {
    this.count = 0;
    this.prefillTokens = 0;
    this.decoding = 0;
    this.decodePasses = 0;
    this.entries.length = 0;
    this.outputs.length = 0;
    this.fillers.length = 0;
  }

  /** How many tokens each sequence brings. */
  #chunks(sequences: readonly Sequence[], limits: BatchLimits): Map<Sequence, number> {
    const chunks = new Map<Sequence, number>();
    const prefilling: Sequence[] = [];
    for (const sequence of sequences) {
      if (!sequence.generation || sequence.generation.stalled) continue;
      if (sequence.generation.prefilling) prefilling.push(sequence);
      else chunks.set(sequence, 1);
    }
    const room = this.capacity - chunks.size;
    let left = chunks.size > 0 ? Math.min(limits.prefillTokens, room) : room;
    this.#turns.sort(prefilling);
    let length = 0;
    let rows = this.#buffers.logprobs.length / rowLength - sequences.length;
    const scoresFirst = prefilling[0]?.generation?.scoring ?? false;
    for (const sequence of prefilling) {
      const { chunkLeft, scoring } = sequence.generation!;
      // A scored prompt comes in small chunks; the others go along with it instead of waiting for its end.
      const most = scoresFirst && limits.equalChunks && length > 0 ? length : left;
      const tokens = Math.min(left, chunkLeft, most, scoring ? rows : left);
      length ||= tokens;
      if (tokens === 0 || (limits.equalChunks && tokens !== length)) continue;
      chunks.set(sequence, tokens);
      this.#turns.took(sequence, tokens);
      left -= tokens;
      if (scoring) rows -= tokens;
    }
    return chunks;
  }

  #add(sequence: Sequence, tokens: number): void {
    const generation = sequence.generation!;
    this.entries.push({ sequence, generation, tokens });
    if (!generation.prefilling) {
      this.decoding++;
      this.outputs.push({ generation, scored: false });
      this.#put(generation.lastToken, sequence.length, sequence.id, 1);
      return;
    }
    this.prefillTokens += tokens;
    const { prompt, maxTokens } = generation.request;
    for (let i = 0; i < tokens; i++) {
      const at = generation.evaluated + i;
      const isLast = at === prompt.length - 1;
      const output = isLast ? (maxTokens > 0 ? 1 : 0) : generation.scoring ? 2 : 0;
      if (output !== 0) this.outputs.push({ generation, scored: output === 2 });
      this.#put(prompt[at]!, sequence.length + i, sequence.id, output, prompt[at + 1]);
    }
  }

  /** @param target the token to be scored, where output is 2 */
  #put(token: number, position: number, sequence: number, output = 0, target = 0): void {
    const { tokens, positions, sequences, outputs, targets } = this.#buffers;
    targets[this.count] = target;
    tokens[this.count] = token;
    positions[this.count] = position;
    sequences[this.count] = sequence;
    outputs[this.count] = output;
    this.count++;
  }
}

/** How many prompt tokens a step may take while others decode, so that it stays near a target length. */
export class PrefillBudget {
  readonly #targetMs: number;
  readonly #capacity: number;
  #tokensPerMs = 0;
  #decodeMs = 0;

  /** Taken before anything was measured, and the least that is always allowed so that no prompt starves. */
  static readonly initialTokens = 64;
  static readonly leastTokens = 16;

  constructor(targetMs: number, capacity: number) {
    this.#targetMs = targetMs;
    this.#capacity = capacity;
  }

  get tokens(): number {
    if (this.#tokensPerMs === 0) return PrefillBudget.initialTokens;
    const affordable = Math.floor((this.#targetMs - this.#decodeMs) * this.#tokensPerMs);
    return Math.min(Math.max(affordable, PrefillBudget.leastTokens), this.#capacity);
  }

  /** A step took `ms` for `prefillTokens` prompt tokens beside `decoding` sequences. */
  observe(decoding: number, prefillTokens: number, ms: number): void {
    if (prefillTokens === 0) {
      this.#decodeMs = smooth(this.#decodeMs, ms);
      return;
    }
    const prefillMs = Math.max(ms - (decoding > 0 ? this.#decodeMs : 0), ms / 10);
    this.#tokensPerMs = smooth(this.#tokensPerMs, prefillTokens / prefillMs);
  }
}

/** Exponential moving average; 0 means nothing was seen yet. */
function smooth(average: number, value: number): number {
  return average === 0 ? value : average + 0.2 * (value - average);
}
