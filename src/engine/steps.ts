// Runs planned steps: submits one, hands out what the one before brought while it runs, and takes what it brings. Where the next step
// differs by nothing but its tokens the context begins it by itself, so that no step waits for JavaScript. Plans nothing.
import type { NativeContext } from "./addon.ts";
import type { Batch, Entry } from "./batch.ts";
import type { DecodeWork } from "./engine.ts";
import type { Sequences } from "./sequences.ts";
import type { Speculation } from "./speculation.ts";

export type StepsOptions = {
  readonly context: Pick<NativeContext, "step" | "next" | "runsAhead" | "stepMs">;
  readonly batch: Batch;
  readonly sequences: Sequences;
  /** Positions of one sequence. */
  readonly contextTokens: number;
  readonly speculation?: Speculation | undefined;
  /** Somebody waits for a place in the batch, or for the context. */
  readonly waiting: () => boolean;
  /** Called while a step runs. */
  readonly deliver: () => void;
  /** The batch's step has ended; it took so long. */
  readonly take: (ms: number) => void;
};

export class Steps {
  readonly #options: StepsOptions;
  readonly #work = { steps: 0, passes: 0 };

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  get work(): DecodeWork {
    return { ...this.#work };
  }

  /** The planned step, and those after it that need no other plan. @throws when one fails; those before it were taken */
  async run(): Promise<void> {
    const { context, batch, deliver, take, sequences } = this.#options;
    let count = 1;
    let running = context.step(batch.count, this.#mayRepeat(count));
    for (;;) {
      deliver();
      await running;
      if (batch.decoding > 0) {
        this.#work.steps++;
        this.#work.passes += batch.decodePasses;
      }
      take(context.stepMs());
      if (!context.runsAhead()) break;
      running = context.next(this.#mayRepeat(++count));
    }
    for (const sequence of batch.fillers) sequences.dropTail(sequence);
  }

  /** After the running step, the one of that number in a row: another one with the same sequences is what would be planned. */
  #mayRepeat(count: number): boolean {
    const { batch, sequences, contextTokens, speculation, waiting } = this.#options;
    if (waiting() || speculation?.appliesTo(sequences.all) || !batch.entries.every(goesOn)) return false;
    const ready = sequences.all.filter(({ generation }) => generation && !generation.stalled);
    if (ready.length > batch.entries.length) return false;
    return batch.fillers.every(({ length }) => length + count < contextTokens);
  }
}

/** It decodes one token, and there is one more to come: what ends an answer otherwise is seen with the next step's result. */
function goesOn({ generation, drafted }: Entry): boolean {
  const { prefilling, finished, ended, stalled, remaining } = generation;
  return !prefilling && drafted === 0 && !finished && !ended && !stalled && remaining > 1;
}
