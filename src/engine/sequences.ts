// The places in the batch and what each holds in the KV cache. A free place is given lowest id first, because only sequences with
// consecutive, increasing ids share a compute pass when each has a KV stream of its own (llama_batch_allocr::split_equal).
import type { NativeContext, NativePreparedSampler } from "./addon.ts";
import type { Checkpoint } from "./checkpoints.ts";
import { chooseMove, type GapCosts, type Move } from "./compaction.ts";
import type { GenerationRequest, SlotInfo } from "./engine.ts";
import type { Generation } from "./generation.ts";
import { type Choice, choosePlace, type Placement } from "./prefix-cache.ts";
import type { SavedPrefix } from "./prefix-file.ts";
import { leastValuable } from "./sequence-value.ts";

export class Sequence {
  readonly id: number;
  /** The tokens in the KV cache: the first `length` of these, at positions 0 to length - 1. */
  tokens = new Int32Array(0);
  length = 0;
  /** Who may reuse them; null: nobody. */
  scope: string | null = null;
  /** Counts up with every use. */
  lastUsed = 0;
  generation: Generation | undefined;
  /** States of beginnings of `tokens`, where the memory cannot be cut back to them. */
  checkpoints: readonly Checkpoint[] = [];
  /** To be put back before the next step; `length` counts on it already. */
  pending: Checkpoint | undefined;
  /** Copied from another one, which llama.cpp does with the next step: until then its memory is not to be read. */
  copied = false;

  constructor(id: number) {
    this.id = id;
  }

  describe(): SlotInfo {
    if (this.generation) return this.generation.describe(this.id);
    const nothing = { ageMs: 0, promptTokens: 0, promptTokensProcessed: 0, decodedTokens: 0, remainingTokens: 0 };
    return { id: this.id, state: "idle", caller: null, ...nothing, cachedTokens: this.length };
  }

  /** Forgets everything. */
  clear(): void {
    this.length = 0;
    this.checkpoints = [];
    this.pending = undefined;
    this.copied = false;
  }

  append(token: number): void {
    this.copied = false;
    if (this.length === this.tokens.length) {
      const grown = new Int32Array(Math.max(256, this.length * 2));
      grown.set(this.tokens);
      this.tokens = grown;
    }
    this.tokens[this.length++] = token;
  }
}

export class Sequences {
  readonly all: readonly Sequence[];
  readonly #context: NativeContext;
  readonly #choice: Choice;
  #uses = 0;
  /** One was given or taken back since the gaps between them were last looked at. */
  #scattered = false;

  /** @param choice whether what finished requests leave in the cache is kept, and how it can be cut for prompts that begin alike */
  constructor(context: NativeContext, count: number, choice: Choice) {
    this.#context = context;
    this.#choice = choice;
    this.all = Array.from({ length: count }, (_, id) => new Sequence(id));
  }

  get running(): number {
    return this.all.reduce((count, sequence) => count + (sequence.generation ? 1 : 0), 0);
  }

  /** Those whose memory can be read and is kept for reuse, most recently used first. */
  idle(): Sequence[] {
    const keeps = ({ generation, scope, length, copied }: Sequence) =>
      !generation && scope !== null && length > 0 && !copied;
    return this.all.filter(keeps).sort((a, b) => b.lastUsed - a.lastUsed);
  }

  /** The sequence's memory holds this now; each such counts as used before all others. */
  adopt(sequence: Sequence, kept: SavedPrefix): void {
    sequence.tokens = Int32Array.from(kept.tokens);
    sequence.length = kept.tokens.length;
    sequence.scope = kept.scope;
    sequence.checkpoints = kept.checkpoints;
    sequence.lastUsed = Math.min(0, ...this.all.map(({ lastUsed }) => lastUsed)) - 1;
  }

  /** Gives the generation a place. False: none is free. "later": the beginning of its prompt is just being evaluated. */
  assign(generation: Generation): boolean | "later" {
    const { maxTokens, cacheScope } = generation.request;
    const place = choosePlace(generation.request, this.all, this.#choice);
    if (place === undefined) return false;
    if (place === "later") return "later";
    const { sequence } = place;
    if (maxTokens > 0) this.#setSampler(sequence, generation.request);
    this.#takeOver(place);
    sequence.scope = cacheScope;
    sequence.lastUsed = ++this.#uses;
    sequence.generation = generation;
    this.#scattered = true;
    generation.start(sequence, sequence.length, place.stops);
    return true;
  }

  /** Takes the place back; what it holds stays for reuse. Idempotent. */
  release(generation: Generation): void {
    const sequence = generation.sequence;
    if (!sequence) return;
    generation.sequence = undefined;
    sequence.generation = undefined;
    this.#scattered = true;
    sequence.lastUsed = ++this.#uses;
    this.#context.clearSampler(sequence.id);
    if (!this.#choice.reuse || sequence.scope === null) this.empty(sequence);
  }

  /** Moves decoding sequences so that as many as possible share a pass. */
  moveTogether(costs: GapCosts): void {
    if (!this.#scattered) return;
    this.#scattered = false;
    for (let move = chooseMove(this.all, costs); move; move = chooseMove(this.all, costs)) this.#move(move);
  }

  /**
   * The request goes on in the idle place. What that held is kept instead of what was used least recently: a move costs the cache
   * no more than a new request does.
   */
  #move({ from, to }: Move): void {
    const spare = leastValuable(this.all.filter(({ generation, pending }) => !generation && !pending));
    if (to !== spare && to.length > 0) this.#copy(to, spare);
    this.#copy(from, to);
    this.#context.moveSampler(from.id, to.id);
    to.generation = from.generation;
    to.generation!.sequence = to;
    from.generation = undefined;
    this.empty(from);
  }

  /** All that `from` holds, over whatever `to` held. */
  #copy(from: Sequence, to: Sequence): void {
    this.#context.copySequence(from.id, to.id);
    to.tokens = from.tokens.slice();
    to.length = from.length;
    to.scope = from.scope;
    to.lastUsed = from.lastUsed;
    to.checkpoints = from.checkpoints;
    to.copied = true;
  }

  /** Forgets everything the sequence holds: what a failed step left there is not to be trusted. */
  empty(sequence: Sequence): void {
    this.#context.removeTokens(sequence.id, -1, -1);
    sequence.clear();
  }

  /** Drops what lies behind the sequence's own tokens: the trace of a throwaway token. */
  dropTail(sequence: Sequence): void {
    if (sequence.length === 0) this.empty(sequence);
    else this.#context.removeTokens(sequence.id, sequence.length, -1);
  }

  #setSampler(sequence: Sequence, { sampling, sampler, prompt, logprobs = -1 }: GenerationRequest): void {
    const prepared = sampler?.prepared as NativePreparedSampler | undefined;
    this.#context.setSampler(sequence.id, prepared ?? sampling, prompt, logprobs);
  }

  /** Makes the place hold exactly the reused beginning of the prompt. */
  #takeOver({ sequence, reused, source, checkpoint }: Placement): void {
    if (reused === 0) {
      this.empty(sequence);
      return;
    }
    if (source) {
      this.#copy(source, sequence);
      source.lastUsed = ++this.#uses;
    }
    sequence.checkpoints = sequence.checkpoints.filter(({ length }) => length <= reused);
    sequence.length = reused;
    sequence.pending = checkpoint;
    if (!checkpoint && !this.#context.removeTokens(sequence.id, reused, -1)) this.empty(sequence);
  }
}
