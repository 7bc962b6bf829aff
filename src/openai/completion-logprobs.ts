// Log-probabilities as OpenAI's older completions tell them: parallel arrays, and where in the text each token begins (API.md section 8).
import type { SampledLogprob, ScoredToken } from "../engine/engine.ts";
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

/** A stretch of the prompt and what is told of its tokens. */
export type EchoStretch = { readonly text: string; readonly logprobs: LegacyLogprobs };

/** Tokens of a prompt in one object of a stream: with 20 alternatives each they are about 100 KB. */
const stretchTokens = 256;

/** Of one choice. Holds where in its text it is. What it is given it renders at once, as a long prompt comes in many small parts. */
export class ChoiceLogprobs {
  readonly #count: number;
  readonly #echo: Echo | undefined;
  /** Of the prompt's tokens from the second one on, and what is told of the alternatives. */
  readonly #scores: number[] = [];
  readonly #tops: Record<string, number>[] = [];
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
    for (const score of scores) {
      this.#scores.push(finite(score.logprob));
      if (this.#count > 0) this.#tops.push(topOf(score));
    }
  }

  /** The prompt's; the first token shown has no log-probability, even where one that is not shown came before it. */
  ofEcho(): EchoStretch[] {
    const { text, tokens, hidden } = this.#echo!;
    const points = Array.from(text);
    const starts = offsets(tokens, points.length);
    const scoreOf = <T>(values: readonly T[], index: number) =>
      index === 0 ? null : (values[index + hidden - 1] ?? null);
    const stretches: EchoStretch[] = [];
    for (let begin = 0; begin < Math.max(tokens.length, 1); begin += stretchTokens) {
      const end = Math.min(begin + stretchTokens, tokens.length);
      const told = Array.from({ length: end - begin }, (_, index) => begin + index);
      const logprobs = {
        tokens: told.map((index) => tokenText(tokens[index]!)),
        token_logprobs: told.map((index) => scoreOf(this.#scores, index)),
        top_logprobs: this.#count === 0 ? null : told.map((index) => scoreOf(this.#tops, index)),
        text_offset: starts.slice(begin, end),
      };
      stretches.push({ text: points.slice(begin === 0 ? 0 : starts[begin], starts[end]).join(""), logprobs });
    }
    return stretches;
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

/** All of the arrays, one after the other; null when there are none. */
export function joinLogprobs(parts: readonly (LegacyLogprobs | null)[]): LegacyLogprobs | null {
  const told = parts.filter((part) => part !== null);
  const [first] = told;
  if (!first) return null;
  return {
    tokens: told.flatMap(({ tokens }) => tokens),
    token_logprobs: told.flatMap(({ token_logprobs }) => token_logprobs),
    top_logprobs: first.top_logprobs && told.flatMap(({ top_logprobs }) => top_logprobs ?? []),
    text_offset: told.flatMap(({ text_offset }) => text_offset),
  };
}

const finite = (logprob: number): number => Math.max(logprob, leastLogprob);

/** The alternatives, and the token itself if it is none of them. Of tokens with the same text the most likely one counts. */
function topOf(entry: ScoredToken): Record<string, number> {
  const byText = new Map<string, number>();
  for (const { bytes, logprob } of [...entry.top, entry]) {
    const text = tokenText(bytes);
    if (!byText.has(text)) byText.set(text, finite(logprob));
  }
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
