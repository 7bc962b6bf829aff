// Log-probabilities as OpenAI's older completions tell them: parallel arrays, and where in the text each token begins (API.md section 8).
import type { SampledLogprob, ScoredToken, TokenLogprob } from "../engine/engine.ts";
import { leastLogprob } from "./chat-logprobs.ts";

export type LegacyLogprobs = {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  /** Null when no alternatives were asked for; an entry is null where nothing came before the token. */
  readonly top_logprobs: (Record<string, number> | null)[] | null;
  /** Unicode code points from the start of the text. */
  readonly text_offset: number[];
};

/** A prompt that is put before its answers. */
export type Echo = {
  readonly text: string;
  /** Bytes of its tokens, where they are to be told: without those put before the text that was sent. */
  readonly tokens: readonly Uint8Array[];
  /** How many of those there are. */
  readonly hidden: number;
};

/** Of one choice. Holds where in its text it is. */
export class ChoiceLogprobs {
  readonly #count: number;
  readonly #echo: Echo | undefined;
  readonly #scores: ScoredToken[] = [];
  /** UTF-16 units and code points up to the last token told of; the text after it. */
  #units = 0;
  #points: number;
  #rest = "";

  /** @param count alternatives for each token */
  constructor(count: number, echo: Echo | undefined) {
    this.#count = count;
    this.#echo = echo;
    this.#points = echo ? codePoints(echo.text) : 0;
  }

  /** Of the prompt's tokens, from its second one on. */
  addPrompt(scores: readonly ScoredToken[]): void {
    for (const score of scores) this.#scores.push(score);
  }

  /** The prompt's; the first token shown has no log-probability, even where one that is not shown came before it. */
  ofEcho(): LegacyLogprobs {
    const { text, tokens, hidden } = this.#echo!;
    const scores = tokens.map((_, index) => (index === 0 ? undefined : this.#scores[index + hidden - 1]));
    return {
      tokens: tokens.map(tokenText),
      token_logprobs: scores.map((score) => (score ? finite(score.logprob) : null)),
      top_logprobs: this.#count === 0 ? null : scores.map((score) => (score ? topOf(score) : null)),
      text_offset: offsets(tokens, codePoints(text)),
    };
  }

  /** Of the next piece of the answer. @returns null when it brought no tokens */
  ofAnswer(text: string, entries: readonly SampledLogprob[]): LegacyLogprobs | null {
    this.#rest += text;
    if (entries.length === 0) return null;
    return {
      tokens: entries.map(({ bytes }) => tokenText(bytes)),
      token_logprobs: entries.map(({ logprob }) => finite(logprob)),
      top_logprobs: this.#count === 0 ? null : entries.map(topOf),
      text_offset: entries.map(({ start }) => this.#advance(start)),
    };
  }

  #advance(start: number): number {
    const passed = this.#rest.slice(0, start - this.#units);
    this.#rest = this.#rest.slice(passed.length);
    this.#units += passed.length;
    this.#points += codePoints(passed);
    return this.#points;
  }
}

/** The arrays of both, one after the other. */
export function joinLogprobs(before: LegacyLogprobs | null, after: LegacyLogprobs | null): LegacyLogprobs | null {
  if (!before || !after) return before ?? after;
  const tops = before.top_logprobs && after.top_logprobs;
  return {
    tokens: [...before.tokens, ...after.tokens],
    token_logprobs: [...before.token_logprobs, ...after.token_logprobs],
    top_logprobs: tops ? [...before.top_logprobs, ...after.top_logprobs] : null,
    text_offset: [...before.text_offset, ...after.text_offset],
  };
}

const finite = (logprob: number): number => Math.max(logprob, leastLogprob);

/** The alternatives, and the token itself if it is none of them. Of tokens with the same text the most likely one counts. */
function topOf(entry: ScoredToken): Record<string, number> {
  const byText = new Map<string, number>();
  const add = ({ bytes, logprob }: TokenLogprob) => {
    const text = tokenText(bytes);
    if (!byText.has(text)) byText.set(text, finite(logprob));
  };
  entry.top.forEach(add);
  add(entry);
  return Object.fromEntries(byText);
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes that are not whole characters are spelt out. */
function tokenText(bytes: Uint8Array): string {
  const text = decoder.decode(bytes);
  if (!text.includes("\uFFFD") || Buffer.from(text).equals(bytes)) return text;
  return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** A token inside a character begins with it. What the tokens have before the text itself (a first space) counts as its beginning. */
function offsets(tokens: readonly Uint8Array[], textPoints: number): number[] {
  let begun = 0;
  const starts = tokens.map((bytes) => {
    const start = isContinuation(bytes[0]) && begun > 0 ? begun - 1 : begun;
    for (const byte of bytes) if (!isContinuation(byte)) begun += 1;
    return start;
  });
  const shift = Math.max(0, begun - textPoints);
  return starts.map((start) => Math.max(0, start - shift));
}
