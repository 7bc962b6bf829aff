// A made-up vocabulary of any size for random models: 256 byte tokens, pieces of two to four letters, two control tokens.
// It is a real byte-level BPE ("gpt2" in llama.cpp), so any text tokenises; it means nothing.

export type Vocabulary = {
  /** Token texts by id, in the byte alphabet of byte-level BPE. */
  readonly tokens: readonly string[];
  readonly merges: readonly string[];
  /** Ids of the control tokens; the last ids of the vocabulary. */
  readonly beginOfText: number;
  readonly endOfText: number;
};

const letters = "abcdefghijklmnopqrstuvwxyz";
const controlTokens = ["<|begin|>", "<|end|>"];

/** @param size all tokens together; at least 258, at most about 490,000 */
export function makeVocabulary(size: number): Vocabulary {
  const merges: [string, string][] = [];
  const wanted = size - 256 - controlTokens.length;
  for (const merge of possibleMerges()) {
    if (merges.length >= wanted) break;
    merges.push(merge);
  }
  if (merges.length !== wanted) throw new RangeError(`a vocabulary of ${size} tokens cannot be made`);
  return {
    tokens: [...byteAlphabet(), ...merges.map((merge) => merge.join("")), ...controlTokens],
    merges: merges.map((merge) => merge.join(" ")),
    beginOfText: size - 2,
    endOfText: size - 1,
  };
}

/** Each makes a new token out of two earlier ones: ab, then abc, then abcd. */
function* possibleMerges(): Generator<[string, string]> {
  const pairs = [...letters].flatMap((first) => [...letters].map((second): [string, string] => [first, second]));
  const pairTexts = pairs.map((pair) => pair.join(""));
  yield* pairs;
  for (const pair of pairTexts) for (const letter of letters) yield [pair, letter];
  for (const pair of pairTexts) for (const other of pairTexts) yield [pair, other];
}

/** One printable character per byte: itself where that is printable, else the next free one from U+0100 on. */
function byteAlphabet(): string[] {
  let free = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : free++);
  });
}
