// Long texts on their way to the addon, and from it: converted in slices, between which the event loop turns.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { NativeModel } from "./addon.ts";

/** Characters that are converted in one go: about a millisecond. */
const sliceCharacters = 256 * 1024;

/** A text, or the slices of its UTF-8. */
export type TextBytes = string | readonly Uint8Array[];

/** For the addon. A short text is left to it. */
export async function toTextBytes(text: string): Promise<TextBytes> {
  return text.length <= sliceCharacters ? text : encodeInTurns(slicesOf(text));
}

/** The text that the pieces make together; those that come to no more than a slice stay one string. */
export async function encodeInTurns(pieces: Iterable<string>): Promise<TextBytes> {
  const slices: Uint8Array[] = [];
  let text = "";
  for (const piece of pieces) {
    text += piece;
    if (text.length < sliceCharacters) continue;
    slices.push(Buffer.from(text));
    text = "";
    await nextTurn();
  }
  return slices.length === 0 ? text : [...slices, Buffer.from(text)];
}

/** Cuts no character in two. */
export function* slicesOf(text: string): Generator<string> {
  let end = 0;
  for (let begin = 0; begin < text.length; begin = end) {
    end = begin + sliceCharacters;
    if (isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    yield text.slice(begin, end);
  }
}

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;

/** True when the UTF-8 ends with that text. */
export function endsWithText(bytes: Uint8Array, text: string): boolean {
  const end = Buffer.from(text);
  return end.length <= bytes.length && end.equals(bytes.subarray(bytes.length - end.length));
}

export async function tokenizeText(
  model: NativeModel,
  text: string,
  addSpecial: boolean,
  parseSpecial: boolean,
): Promise<Int32Array> {
  return model.tokenize(await toTextBytes(text), addSpecial, parseSpecial);
}
