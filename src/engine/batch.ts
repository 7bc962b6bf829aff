// Plans one step: which tokens of which sequences go into the batch, in id order. One token for every decoding sequence, then
// prompt tokens up to a budget, then throwaway tokens in small gaps so that one compute pass serves both sides of them.
import type { BatchBuffers } from "./addon.ts";
import type { Generation } from "./generation.ts";
import { rowLength } from "./logprobs.ts";
import { PrefillTurns } from "./prefill-turns.ts";
import type { Sequence } from "./sequences.ts";
import type { Drafts } from "./speculation.ts";

/** A prompt's part of at least this many tokens is worth a compute pass of its own. */
const leastFill = 16;

/** What one sequence has in the batch. */
export type Entry = {
  readonly sequence: Sequence;
  readonly generation: Generation;
  readonly tokens: number;
  /** Of the prompt's tokens, those whose log-probabilities the step tells. */
  readonly scored: number;
  /** Tokens sampled after those, in batch order: none in the middle of a prompt, one, and one more for each drafted token. */
  readonly sampled: number;
  /** Of `tokens`, those that are only guessed (speculation.ts). */
  readonly drafted: number;
};

export type BatchLimits = {
  /** Prompt tokens allowed in this step beside so many decoding sequences, while so many prompts of so many tokens are unfinished. */
  readonly prefillTokens: (decoding: number, prompts: number, promptTokens: number) => number;
  /**
   * With a KV stream per sequence only equally many tokens of each share a pass. So where nobody decodes, only chunks of one length go
   * into a step: prompts of other lengths would share nothing with them but the wait.
   */
  readonly equalChunks: boolean;
  /** Idle sequences in a row that are filled; 0 = never. */
  readonly gap: number;
  /** Positions a sequence has. */
  readonly contextTokens: number;
  /** Running sequences that share this step (turns.ts). */
  readonly sharing: ReadonlySet<Sequence>;
  /** Guesses to be verified; there are none beside a prompt. */
  readonly drafts?: Drafts | undefined;
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
    // Sequences with drafts share no pass with a single throwaway token.
    if (!limits.drafts) this.#findFillers(sequences, chunks, limits);
    const fillers = new Set(this.fillers);
    let counted = false;
    for (const sequence of sequences) {
      const tokens = chunks.get(sequence);
      const fills = fillers.has(sequence);
      // Without streams one pass takes them all. With them only a place that brings nothing ends a pass; one whose prompt is evaluated
      // gives its first token to it.
      if (limits.equalChunks && tokens === undefined && !fills) counted = false;
      const decodes = fills || (tokens !== undefined && !sequence.generation!.prefilling);
      if (decodes && !counted) this.decodePasses++;
      counted ||= decodes;
      if (tokens !== undefined) this.#add(sequence, tokens, limits.drafts?.get(sequence) ?? []);
      else if (fills) this.#put(0, sequence.length, sequence.id);
    }
  }

  /** Idle sequences between two that decode, where there are few enough: with them all of these share a pass. */
  #findFillers(
    sequences: readonly Sequence[],
    chunks: Map<Sequence, number>,
    { gap, contextTokens }: BatchLimits,
  ): void {
    let idle: Sequence[] | undefined;
    let room = this.capacity - sum(chunks.values());
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
    this.fillers.length = 0;
  }

  /** How many tokens each sequence brings. */
  #chunks(sequences: readonly Sequence[], limits: BatchLimits): Map<Sequence, number> {
    const chunks = new Map<Sequence, number>();
    const prefilling: Sequence[] = [];
    let decoding = 0;
    for (const sequence of sequences) {
      if (!sequence.generation || sequence.generation.stalled) continue;
      // Those that sit this step out wait for it all the same: it has to stay short.
      if (!sequence.generation.prefilling) decoding++;
      if (!limits.sharing.has(sequence)) continue;
      if (sequence.generation.prefilling) prefilling.push(sequence);
      else chunks.set(sequence, 1 + (limits.drafts?.get(sequence)?.length ?? 0));
    }
    const room = this.capacity - sum(chunks.values());
    let left = decoding > 0 ? Math.min(limits.prefillTokens(decoding, ...promptsOf(prefilling)), room) : room;
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
      if (tokens === 0) continue;
      // Beside decoding sequences a pass more costs less than a step more, unless it is for a scrap of a prompt.
      const fills = decoding > 0 && (tokens >= leastFill || tokens === chunkLeft);
      if (limits.equalChunks && tokens !== length && !fills) continue;
      chunks.set(sequence, tokens);
      this.#turns.took(sequence, tokens);
      left -= tokens;
      if (scoring) rows -= tokens;
    }
    return chunks;
  }

  #add(sequence: Sequence, tokens: number, draft: readonly number[]): void {
    const generation = sequence.generation!;
    if (!generation.prefilling) {
      this.decoding++;
      this.entries.push({ sequence, generation, tokens, scored: 0, sampled: tokens, drafted: draft.length });
      this.#put(generation.lastToken, sequence.length, sequence.id, 1);
      for (const [index, token] of draft.entries()) this.#put(token, sequence.length + 1 + index, sequence.id, 1);
      return;
    }
    this.prefillTokens += tokens;
    const { prompt, maxTokens } = generation.request;
    const first = generation.evaluated;
    const completes = tokens === generation.promptLeft;
    const sampled = completes && maxTokens > 0 ? 1 : 0;
    const scored = generation.scoring ? tokens - (completes ? 1 : 0) : 0;
    this.entries.push({ sequence, generation, tokens, scored, sampled, drafted: 0 });
    for (let i = 0; i < tokens; i++) {
      const at = first + i;
      const output = i < scored ? 2 : i === tokens - 1 ? sampled : 0;
      this.#put(prompt[at]!, sequence.length + i, sequence.id, output, prompt[at + 1]);
    }
  }

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

function sum(counts: Iterable<number>): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

/** How many there are, and the tokens that these have, or had, to evaluate. */
function promptsOf(prefilling: readonly Sequence[]): [prompts: number, tokens: number] {
  const tokens = prefilling.map(({ generation }) => generation!.request.prompt.length - generation!.cachedTokens);
  return [prefilling.length, sum(tokens)];
}
