// What OpenAI's two older answers have around their choices, in every chunk of a stream and in a whole reply, and what both tell at
// their end.
import type { Measured } from "../engine/engine.ts";
import type { AnswerHead, Finish } from "./answer.ts";
import { toTimings, withTimings } from "./timings.ts";
import type { UsageObject } from "./usage.ts";

/** What the answer was asked to tell besides its choices. */
export type EnvelopeOptions = {
  /** A usage chunk is to come, and those before it say `"usage":null`. */
  readonly includeUsage: boolean;
  /** Timings go to the end of the answer. */
  readonly timings?: boolean;
  /** And on every chunk with something of the answer. */
  readonly timingsPerToken?: boolean;
  /** What `__verbose` holds, if it was asked for. */
  readonly verbose?: object | undefined;
};

/** The values of `object`. */
export type ObjectNames = { readonly chunk: string; readonly reply: string };

export class Envelope {
  readonly #head: AnswerHead;
  readonly #names: ObjectNames;
  readonly #options: EnvelopeOptions;
  #unfinished: number;
  #firstFinish: Finish | undefined;

  /** @param choices how many there will be */
  constructor(head: AnswerHead, names: ObjectNames, choices: number, options: EnvelopeOptions) {
    this.#head = head;
    this.#names = names;
    this.#unfinished = choices;
    this.#options = options;
  }

  /** @param measured so far, where the chunk has something of the answer */
  chunk(choice: object, measured?: Measured): object {
    const { id, created, model, fingerprint: system_fingerprint } = this.#head;
    const { chunk: object } = this.#names;
    const { includeUsage, timingsPerToken } = this.#options;
    const choices = [choice];
    const plain = { id, object, created, model, system_fingerprint, choices };
    return withTimings(includeUsage ? { ...plain, usage: null } : plain, timingsPerToken && measured);
  }

  /** A choice's last chunk, which may be the answer's. @param index of the choice */
  last(choice: object, index: number, finish: Finish): object {
    if (index === 0) this.#firstFinish = finish;
    this.#unfinished -= 1;
    const chunk = this.chunk(choice, finish);
    const isEnd = this.#unfinished === 0 && !this.#options.includeUsage;
    return isEnd ? { ...chunk, ...this.#report() } : chunk;
  }

  usageChunk(usage: UsageObject): object {
    return this.#whole(this.#names.chunk, [], usage);
  }

  /** @param first the end of the first choice */
  reply(choices: readonly object[], usage: UsageObject, first: Finish | undefined): object {
    this.#firstFinish = first;
    return this.#whole(this.#names.reply, choices, usage);
  }

  #whole(object: string, choices: readonly object[], usage: UsageObject): object {
    const { id, created, model, fingerprint } = this.#head;
    return { id, object, created, model, system_fingerprint: fingerprint, choices, usage, ...this.#report() };
  }

  /** What was asked for about the answer's making. */
  #report(): object {
    const { timings, verbose } = this.#options;
    return {
      ...(timings && this.#firstFinish && { timings: toTimings(this.#firstFinish) }),
      ...(verbose && { __verbose: verbose }),
    };
  }
}
