// What a step brought: lengths of sequences, scores of prompts, sampled tokens, and whose sampling failed. Hands it to the generations;
// plans and submits nothing.
import type { Logger } from "../telemetry/log.ts";
import type { BatchBuffers, NativeContext } from "./addon.ts";
import type { Batch, Entry } from "./batch.ts";
import { samplingFailure } from "./constraint.ts";
import type { Generation, Vocabulary } from "./generation.ts";
import { readLogprobs } from "./logprobs.ts";
import type { Sequence, Sequences } from "./sequences.ts";
import type { Speculation } from "./speculation.ts";

export type StepResultsOptions = {
  readonly context: NativeContext;
  readonly buffers: BatchBuffers;
  readonly sequences: Sequences;
  readonly vocabulary: Vocabulary;
  readonly speculation?: Speculation | undefined;
  readonly log: Logger;
};

export class StepResults {
  readonly #options: StepResultsOptions;
  #toDeliver = new Set<Generation>();

  constructor(options: StepResultsOptions) {
    this.#options = options;
  }

  /**
   * For each sequence its cache length first, then every sampled token.
   * @param toDeliver gets the generations that have something to tell
   * @returns how many tokens were sampled
   */
  take(batch: Batch, toDeliver: Set<Generation>): number {
    this.#toDeliver = toDeliver;
    let output = 0;
    let sampled = 0;
    for (const entry of batch.entries) {
      this.#recordTokens(entry);
      sampled += this.#acceptAll(entry, output);
      output += entry.scored + entry.sampled;
    }
    return sampled;
  }

  /** @returns how many tokens were sampled: of drafted ones only those count that were sampled too, and one more */
  #acceptAll({ sequence, generation, scored, sampled, drafted }: Entry, firstOutput: number): number {
    for (let i = 0; i < scored && !generation.ended; i++) this.#score(generation, firstOutput + i);
    const first = firstOutput + scored;
    let count = 0;
    for (; count < sampled && this.#options.buffers.sampled[first + count]! >= 0; count++) {
      if (generation.ended || generation.finished) continue;
      // The token before was drafted rightly: the step has decoded it.
      if (count > 0) sequence.append(generation.lastToken);
      this.#accept(generation, first + count);
    }
    if (count < sampled && !generation.ended) this.#checkFailure(sequence, generation);
    if (drafted > 0) {
      this.#options.sequences.dropTail(sequence);
      this.#options.speculation?.observe(generation, drafted, Math.max(0, count - 1));
    }
    return count;
  }

  #score(generation: Generation, output: number): void {
    const { specialPieces } = this.#options.vocabulary;
    generation.score(
      readLogprobs(this.#options.buffers, specialPieces, output, generation.request.promptLogprobs ?? 0),
    );
    this.#toDeliver.add(generation);
  }

  #accept(generation: Generation, output: number): void {
    const { logprobs } = generation.request;
    const { specialPieces } = this.#options.vocabulary;
    const score =
      logprobs === undefined ? undefined : readLogprobs(this.#options.buffers, specialPieces, output, logprobs);
    generation.accept(this.#options.buffers.sampled[output]!, score);
    this.#toDeliver.add(generation);
  }

  /** An output without a token: after a draft that was refused, or for a reason that ends this request; its neighbours go on. */
  #checkFailure(sequence: Sequence, generation: Generation): void {
    const failure = this.#options.context.samplingFailure(sequence.id);
    if (!failure) return;
    const { code, message } = failure;
    if (code === "SAMPLING_FAILED") this.#options.log.error({ code, why: message }, "a request could not be sampled");
    generation.fail(samplingFailure(failure, generation.request.sampler));
  }

  #recordTokens({ sequence, generation, tokens }: Entry): void {
    if (!generation.prefilling) {
      sequence.append(generation.lastToken);
      return;
    }
    for (let i = 0; i < tokens; i++) sequence.append(generation.request.prompt[generation.evaluated++]!);
    if (generation.request.reportProgress) this.#toDeliver.add(generation);
    if (generation.prefilling || generation.request.maxTokens > 0) return;
    generation.finishAfterPrompt();
    this.#toDeliver.add(generation);
  }
}
