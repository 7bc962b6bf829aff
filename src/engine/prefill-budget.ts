// How many prompt tokens a step may take while others decode: as many as keep it near a target length, as the streams under way wait
// for all of it. Knows no sequences.
import { StepCost } from "./step-cost.ts";

/**
 * A step beside prompts is never made shorter than this many decode steps: half of the time is the prompts' at least, and two thirds
 * where decoding alone misses the target. A prompt's part costs a compute pass of its own, which is much for a few tokens.
 */
const leastDecodeSteps = (decodeMs: number, targetMs: number) =>
  Math.min(Math.max(1 + (2 * decodeMs) / targetMs, 2), 3);
/** Nor, for each 50 ms of the target, longer than this many, so that streams that are used to short steps do not stutter… */
const mostDecodeSteps = 3;
/** …but nobody sees a difference below this. */
const unnoticedMs = 10;

/**
 * Where prompts outnumber streams, more wait for the prompts than for the step: it may take so many times as long, up to 32. Where they
 * are fewer it hardly changes.
 */
const stretch = (prompts: number, decoding: number) => Math.min(1 + 2 * (prompts / decoding) ** 2, 32);

/**
 * Where decoding alone misses the target, steps are not smooth anyway: prompts that take no longer than so many decode steps are read
 * at once, which saves a compute pass for each part of them. Everybody's answer ends earlier.
 */
const pauseSteps = 16;
const longestPauseMs = 1000;

export class PrefillBudget {
  readonly #targetMs: number;
  readonly #capacity: number;
  readonly #cost = new StepCost();

  /** Taken before anything was measured, and the least that is always allowed so that no prompt starves. */
  static readonly initialTokens = 64;
  static readonly leastTokens = 2;

  constructor(targetMs: number, capacity: number) {
    this.#targetMs = targetMs;
    this.#capacity = capacity;
  }

  /**
   * @param decoding sequences that decode, at least 1
   * @param prompts those whose prompt is unfinished
   * @param promptTokens that these have to evaluate, with what they have evaluated already: the end of a long prompt is not a short one
   */
  tokens(decoding: number, prompts: number, promptTokens: number): number {
    if (!this.#cost.known) return PrefillBudget.initialTokens;
    const decodeMs = this.#cost.decodeMs(decoding);
    if (decodeMs >= this.#targetMs) {
      const pauseMs = Math.min(pauseSteps * decodeMs, longestPauseMs);
      if (promptTokens * this.#cost.promptTokenMs <= pauseMs) return this.#capacity;
    }
    const smoothMs = Math.max(mostDecodeSteps * decodeMs * (this.#targetMs / 50), unnoticedMs);
    const usualMs = Math.max(Math.min(this.#targetMs, smoothMs), leastDecodeSteps(decodeMs, this.#targetMs) * decodeMs);
    const prefillMs = usualMs * stretch(prompts, decoding) - decodeMs;
    const affordable = Math.floor(prefillMs / this.#cost.promptTokenMs);
    return Math.min(Math.max(affordable, PrefillBudget.leastTokens), this.#capacity);
  }

  /** A step took `ms` for `prefillTokens` prompt tokens beside `decoding` sequences. */
  observe(decoding: number, prefillTokens: number, ms: number): void {
    this.#cost.observe(decoding, prefillTokens, ms);
  }
}
