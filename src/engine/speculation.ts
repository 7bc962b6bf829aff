// Speculation: guesses the next tokens of a sequence, so that one step of the model checks several of them. What is sampled never
// depends on a guess, only how many tokens a step brings does. Used while few sequences run: with many, a step is full without it.
import type { Logger } from "../telemetry/log.ts";
import type { NativePromptLookup } from "./addon.ts";
import type { DraftModel, DraftRequest } from "./draft-model.ts";
import type { SpeculationInfo } from "./engine.ts";
import type { Generation } from "./generation.ts";
import type { Sequence } from "./sequences.ts";

/** More sequences than these are never speculated for. */
export const maxSpeculating = 2;
/**
 * Of a model with a sliding window. A step of one sequence is one compute pass, which gives up only what its first token, the one that
 * stays, does not see; a second pass for a longer draft of two would give up what the sequence needs when guesses are dropped.
 */
export const maxSpeculatingInWindows = 1;
/** Guesses for one sequence in one step. */
export const maxDraft = 16;
const firstDraft = 4;
/** How many tokens at a text's end must have stood there before for a guess from the text: the longest repetition counts. */
export const repeatedTokens = [8, 5, 3, 2];
/** How far back is looked: some microseconds' worth. */
const lookupTokens = 8192;
/** Steps without a draft after one that was all wrong or empty; doubles each time up to the longest. */
const pauses = { first: 1, longest: 32 };

/** By sequence, the tokens that may come next. */
export type Drafts = ReadonlyMap<Sequence, readonly number[]>;

/** How far guesses for one request have been right lately. */
type Pace = { length: number; pause: number; left: number };

export type SpeculationOptions = {
  /** Guess from the text itself. */
  readonly lookup: NativePromptLookup | undefined;
  /** Guesses where the text has no answer. */
  readonly model: DraftModel | undefined;
  /** More running sequences than these are not speculated for. */
  readonly mostRunning: number;
  /** Never guessed: an answer ends there anyway. */
  readonly endTokens: ReadonlySet<number>;
  readonly log: Logger;
};

export class Speculation {
  readonly #options: SpeculationOptions;
  readonly #paces = new WeakMap<Generation, Pace>();
  #model: DraftModel | undefined;
  #draftedTokens = 0;
  #acceptedTokens = 0;

  constructor(options: SpeculationOptions) {
    this.#options = options;
    this.#model = options.model;
  }

  get info(): SpeculationInfo {
    return { draftedTokens: this.#draftedTokens, acceptedTokens: this.#acceptedTokens };
  }

  /**
   * @param all the places of the batch
   * @param sharing those of them that share the next step
   * @returns undefined when the next step has nothing to verify
   */
  draft(all: readonly Sequence[], sharing: ReadonlySet<Sequence>): Promise<Drafts> | Drafts | undefined {
    if (!this.appliesTo(all)) return undefined;
    const drafts = new Map<Sequence, readonly number[]>();
    const missing: DraftRequest[] = [];
    for (const sequence of sharing) {
      const request = this.#request(sequence);
      if (request.most === 0) continue;
      const found = this.#lookUp(request);
      if (found.length > 0) drafts.set(sequence, found);
      else missing.push(request);
    }
    if (missing.length > 0 && this.#model) return this.#askModel(this.#model, missing, drafts);
    return drafts.size > 0 ? drafts : undefined;
  }

  /** Few enough run, and all of them decode. */
  appliesTo(all: readonly Sequence[]): boolean {
    const running = all.filter(({ generation }) => generation);
    return running.length <= this.#options.mostRunning && !running.some(({ generation }) => generation!.prefilling);
  }

  /** A draft was verified. @param accepted how many of its tokens were sampled too, from its beginning */
  observe(generation: Generation, drafted: number, accepted: number): void {
    this.#draftedTokens += drafted;
    this.#acceptedTokens += accepted;
    if (accepted === 0) {
      this.#backOff(generation);
      return;
    }
    const pace = this.#paces.get(generation)!;
    pace.pause = 0;
    pace.length = accepted === drafted ? Math.min(pace.length * 2, maxDraft) : accepted;
  }

  async dispose(): Promise<void> {
    await this.#options.model?.dispose();
  }

  #request(sequence: Sequence): DraftRequest {
    const generation = sequence.generation!;
    const most = Math.min(this.#length(generation), generation.remaining - 1);
    return { sequence, last: generation.lastToken, most: Math.max(most, 0) };
  }

  #length(generation: Generation): number {
    let pace = this.#paces.get(generation);
    if (!pace) {
      pace = { length: firstDraft, pause: 0, left: 0 };
      this.#paces.set(generation, pace);
    }
    if (pace.left === 0) return pace.length;
    pace.left--;
    return 0;
  }

  #backOff(generation: Generation): void {
    const pace = this.#paces.get(generation)!;
    pace.left = pace.pause = Math.min(Math.max(pace.pause * 2, pauses.first), pauses.longest);
    pace.length = 1;
  }

  #lookUp({ sequence, last, most }: DraftRequest): readonly number[] {
    const text = sequence.tokens.subarray(Math.max(0, sequence.length - lookupTokens), sequence.length);
    return this.#beforeEnd([...(this.#options.lookup?.lookUp(text, last, most) ?? [])]);
  }

  #beforeEnd(guesses: readonly number[]): readonly number[] {
    const end = guesses.findIndex((token) => this.#options.endTokens.has(token));
    return end < 0 ? guesses : guesses.slice(0, end);
  }

  async #askModel(model: DraftModel, missing: readonly DraftRequest[], drafts: Map<Sequence, readonly number[]>) {
    try {
      for (const [sequence, guesses] of await model.draft(missing)) {
        const usable = this.#beforeEnd(guesses);
        if (usable.length > 0) drafts.set(sequence, usable);
        // Asking costs as much whether the model is sure of something or not.
        else if (sequence.generation) this.#backOff(sequence.generation);
      }
    } catch (error) {
      // Answers do not need it: the server goes on without.
      this.#model = undefined;
      this.#options.log.error({ err: error }, "the draft model failed and is not used any more");
    }
    return drafts;
  }
}
