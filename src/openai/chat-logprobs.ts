// Log-probabilities as chat answers tell them (API.md section 8): OpenAI's shape, or llama-server's, which has ids besides.
import type { ScoredToken, TokenLogprob } from "../engine/engine.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** JSON has no infinity. */
export const leastLogprob = -9999;

export type ChatLogprobs = { readonly content: readonly object[]; readonly refusal?: null };

/** @param native llama-server's shape (n_probs). Null where there is nothing to tell. */
export function toChatLogprobs(entries: readonly ScoredToken[], native: boolean): ChatLogprobs | null {
  return wrapEntries(toEntries(entries, native), native);
}

function toEntries(entries: readonly ScoredToken[], native: boolean): object[] {
  const describe = native ? withId : plain;
  return entries.map((entry) => ({ ...describe(entry), top_logprobs: entry.top.map(describe) }));
}

function wrapEntries(content: readonly object[], native: boolean): ChatLogprobs | null {
  if (content.length === 0) return null;
  return native ? { content } : { content, refusal: null };
}

/** Those of a whole answer, made as its tokens come: all at once they would take the main thread for too long. */
export class ToldLogprobs {
  readonly #native: boolean;
  readonly #content: object[] = [];

  constructor(native: boolean) {
    this.#native = native;
  }

  add(entries: readonly ScoredToken[] = []): void {
    for (const entry of toEntries(entries, this.#native)) this.#content.push(entry);
  }

  whole(): ChatLogprobs | null {
    return wrapEntries(this.#content, this.#native);
  }
}

function plain({ bytes, logprob }: TokenLogprob): object {
  return { token: decoder.decode(bytes), logprob: Math.max(logprob, leastLogprob), bytes: [...bytes] };
}

function withId({ token, bytes, logprob }: TokenLogprob): object {
  return { id: token, token: decoder.decode(bytes), bytes: [...bytes], logprob: Math.max(logprob, leastLogprob) };
}
