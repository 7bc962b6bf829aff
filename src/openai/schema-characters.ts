// Sets of characters as ranges of code points, for patterns: those that a JSON string holds as they stand, and how llama.cpp's
// grammars write them.

export type CodeRange = readonly [from: number, to: number];

const last = 0x10ffff;

/** What a JSON string holds only as an escape, or never: controls, the quote, the backslash, DEL (by llama.cpp), surrogates. */
const neverPlain: readonly CodeRange[] = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x7f, 0x7f],
  [0xd800, 0xdfff],
];

const digits: readonly CodeRange[] = [[0x30, 0x39]];
const word: readonly CodeRange[] = [...digits, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const space: readonly CodeRange[] = [
  [9, 13],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];

/** JavaScript's: everything but line ends. */
export const dot: readonly CodeRange[] = complement([
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
]);

/** By the letter after the backslash. */
export const escapeClasses: ReadonlyMap<string, readonly CodeRange[]> = new Map([
  ["d", digits],
  ["w", word],
  ["s", space],
  ["D", complement(digits)],
  ["W", complement(word)],
  ["S", complement(space)],
]);

/** All other code points, in order, without overlaps. */
export function complement(ranges: readonly CodeRange[]): CodeRange[] {
  const rest: CodeRange[] = [];
  let next = 0;
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    if (from > next) rest.push([next, from - 1]);
    next = Math.max(next, to + 1);
  }
  if (next <= last) rest.push([next, last]);
  return rest;
}

/** Those that stand in a JSON string as they are. */
export function inJsonString(ranges: readonly CodeRange[]): CodeRange[] {
  return complement([...complement(ranges), ...neverPlain]);
}

/** A class that means the same to llama.cpp's grammars as to a regular expression: whatever is no letter or digit is escaped. */
export function toClass(ranges: readonly CodeRange[]): string {
  return `[${ranges.map(([from, to]) => (from === to ? code(from) : `${code(from)}-${code(to)}`)).join("")}]`;
}

function code(point: number): string {
  const text = String.fromCodePoint(point);
  if (/[A-Za-z0-9]/.test(text)) return text;
  const hex = point.toString(16).toUpperCase();
  return point > 0xffff ? `\\U${hex.padStart(8, "0")}` : `\\u${hex.padStart(4, "0")}`;
}

/** A character as a JSON string holds it. */
export function jsonEscape(point: number): string {
  return JSON.stringify(String.fromCodePoint(point)).slice(1, -1);
}
