// What embeddings and reranking have in common: inputs that must fit, and one piece of work that waits for its turn, under the
// client's signal and REQUEST_TIMEOUT.
import type { VectorModelInfo } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import { formatIgnored } from "../openai/ignored-parameters.ts";
import { tooLate } from "./choices.ts";
import type { Context } from "./handler.ts";
import type { Parts } from "./parts.ts";
import { takeTurn } from "./turn.ts";

/** @param path where the input stands in the body. @throws Failure context_length_exceeded */
export function expectFits(tokens: Int32Array, path: string, { contextTokens }: VectorModelInfo): void {
  if (tokens.length <= contextTokens) return;
  const message =
    `${path} is too large: it came to ${tokens.length} tokens, which exceeds the available context size; ` +
    `this model's maximum context length is ${contextTokens} tokens.`;
  const extra = { n_prompt_tokens: tokens.length, n_ctx: contextTokens };
  throw new Failure("context_length_exceeded", message, { param: path, extra });
}

export type VectorWork<T> = {
  readonly promptTokens: number;
  readonly ignored: readonly string[];
  /** @param onTokens to be told how many tokens are computed, as they are */
  readonly run: (signal: AbortSignal, onTokens: (tokens: number) => void) => Promise<T>;
};

/** Lets the work in, runs it, and counts what was computed. @throws what it throws, or the reason why it must end */
export async function runVectors<T>(ctx: Context, parts: Parts, work: VectorWork<T>): Promise<T> {
  const { admission, record, signal } = ctx.state;
  const { promptTokens } = work;
  const { requestTimeout } = parts.config;
  const place = await takeTurn(ctx, parts, { promptTokens, answers: 0, maxTokens: 0, stream: false });
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(tooLate(requestTimeout)), requestTimeout * 1000);
  let computed = 0;
  const onTokens = (tokens: number) => {
    computed += tokens;
  };
  try {
    const result = await work.run(AbortSignal.any([signal, deadline.signal]), onTokens);
    record.generated({ promptTokens, cachedTokens: 0, completionTokens: 0 });
    const report = formatIgnored(work.ignored);
    if (report) ctx.set("x-ignored-parameters", report);
    return result;
  } finally {
    clearTimeout(timer);
    place.release();
    admission.settle(computed);
    record.generated({ promptTokens: computed, cachedTokens: 0, completionTokens: 0 });
  }
}

export function sumTokens(inputs: readonly Int32Array[]): number {
  return inputs.reduce((total, { length }) => total + length, 0);
}
