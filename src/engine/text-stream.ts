// One answer's tokens as text: bytes are joined across tokens, incomplete UTF-8 and possible beginnings of a stop string are
// held back. Knows nothing of sequences or requests.

import { TextDecoder } from "node:util";
import type { NativePieces } from "./addon.ts";

/** The text of every token, decoded once per model. */
export class TokenPieces {
  readonly #pieces: NativePieces;
  /** A token's text when its bytes are complete UTF-8, null when they are not, undefined until asked for. */
  readonly #texts: (string | null | undefined)[];

  constructor(pieces: NativePieces) {
    this.#pieces = pieces;
    this.#texts = new Array(pieces.offsets.length - 1);
  }

  bytes(token: number): Uint8Array {
    const { bytes, offsets } = this.#pieces;
    return bytes.subarray(offsets[token], offsets[token + 1]);
  }

  /** One after the other. Copied byte by byte: a view of each would take ten times as long. */
  join(tokens: Int32Array): Uint8Array {
    const { bytes, offsets } = this.#pieces;
    let length = 0;
    for (const token of tokens) length += offsets[token + 1]! - offsets[token]!;
    const joined = new Uint8Array(length);
    let at = 0;
    for (const token of tokens) {
      const end = offsets[token + 1]!;
      for (let from = offsets[token]!; from < end; from++) joined[at++] = bytes[from]!;
    }
    return joined;
  }

  /** Null: the bytes are a part of a character. */
  text(token: number): string | null {
    let text = this.#texts[token];
    if (text === undefined) {
      text = decodeStrictly(this.bytes(token));
      this.#texts[token] = text;
    }
    return text;
  }
}

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeStrictly(bytes: Uint8Array): string | null {
  try {
    return strictDecoder.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null; // the documented answer of a fatal decoder to malformed bytes
    throw error;
  }
}

export class TextStream {
  readonly #pieces: TokenPieces;
  readonly #special: TokenPieces;
  readonly #preserved: ReadonlySet<number>;
  readonly #stops: StopStrings | undefined;
  #received = 0;
  #released = 0;
  /** Holds the bytes of an unfinished character; only in use after a token that ended inside one. */
  #decoder: TextDecoder | undefined;

  /**
   * @param special pieces with control tokens as text, used for the tokens in `preserved`
   * @param stop strings that end the answer and are cut from it
   */
  constructor(pieces: TokenPieces, special: TokenPieces, preserved: ReadonlySet<number>, stop: readonly string[]) {
    this.#pieces = pieces;
    this.#special = special;
    this.#preserved = preserved;
    this.#stops = stop.length > 0 ? new StopStrings(stop) : undefined;
  }

  /** The stop string that matched, or null. */
  get stopString(): string | null {
    return this.#stops?.matched ?? null;
  }

  /** UTF-16 units of text that the tokens so far brought, held back or not. */
  get received(): number {
    return this.#received;
  }
  /** UTF-16 units handed out so far. */
  get released(): number {
    return this.#released;
  }

  /** Text that is certain after this token. Nothing more comes once stopString is set. */
  push(token: number): string {
    const pieces = this.#preserved.has(token) ? this.#special : this.#pieces;
    return this.#release(this.#decode(pieces, token));
  }

  /** The answer is over: hands out what was held back, unfinished characters as U+FFFD. */
  end(): string {
    const rest = this.#decoder?.decode() ?? "";
    this.#decoder = undefined;
    const text = this.#release(rest);
    const held = this.#stops?.end() ?? "";
    this.#released += held.length;
    return text + held;
  }

  #decode(pieces: TokenPieces, token: number): string {
    if (!this.#decoder) {
      const text = pieces.text(token);
      if (text !== null) return text;
      this.#decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    }
    return this.#decoder.decode(pieces.bytes(token), { stream: true });
  }

  #release(text: string): string {
    this.#received += text.length;
    const certain = this.#stops ? this.#stops.push(text) : text;
    this.#released += certain.length;
    return certain;
  }
}

/** Finds stop strings in text that arrives in pieces. The earliest start wins, then the order of the list. */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = "";
  matched: string | null = null;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** The part of the text so far that no stop string can reach any more. */
  push(text: string): string {
    if (this.matched !== null) return "";
    this.#held += text;
    let start = Number.POSITIVE_INFINITY;
    for (const stop of this.#stops) {
      const found = this.#held.indexOf(stop);
      if (found !== -1 && found < start) {
        start = found;
        this.matched = stop;
      }
    }
    return this.#take(this.matched === null ? this.#held.length - this.#possibleBeginning() : start);
  }

  /** What was held back; empty after a match. */
  end(): string {
    return this.matched === null ? this.#take(this.#held.length) : "";
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return text;
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #possibleBeginning(): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > longest; length--) {
        if (this.#held.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
