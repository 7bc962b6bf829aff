// Log-probabilities as chat answers tell them (API.md section 8): OpenAI's shape, or llama-server's, which has ids besides.
import type { ScoredToken, TokenLogprob } from "../engine/engine.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** JSON has no infinity. */
export const leastLogprob = -9999;

/** @param native llama-server's shape (n_probs). Null where there is nothing to tell. */
export function toChatLogprobs(
  entries: readonly ScoredToken[],
  native: boolean,
): { readonly content: object[]; readonly refusal?: null } | null {
  if (entries.length === 0) return null;
  const describe = native ? withId : plain;
  const content = entries.map((entry) => ({ ...describe(entry), top_logprobs: entry.top.map(describe) }));
  return native ? { content } : { content, refusal: null };
}

function plain({ bytes, logprob }: TokenLogprob): object {
  return { token: decoder.decode(bytes), logprob: Math.max(logprob, leastLogprob), bytes: [...bytes] };
}

function withId({ token, bytes, logprob }: TokenLogprob): object {
  return { id: token, token: decoder.decode(bytes), bytes: [...bytes], logprob: Math.max(logprob, leastLogprob) };
}
