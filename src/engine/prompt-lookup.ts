// Prompt lookup: guesses how a text goes on from how its last tokens went on before. Costs no model, pays off where answers repeat
// their prompt (code edits, quotations, extraction). Knows no batches.

/** Shorter repetitions than this say nothing; longer ones need not be compared to the end. In tokens. */
const match = { least: 2, most: 8 };
/** How far back is looked: a few microseconds' worth. */
const windowTokens = 8192;

/**
 * @param tokens of a text, but for its last one, in the first `length` places
 * @param last the text's last token
 * @param most tokens guessed at most
 * @returns the tokens after the longest earlier occurrence of the text's end, the latest of equally long ones; none: []
 */
export function lookUp(tokens: Int32Array, length: number, last: number, most: number): number[] {
  let best = -1;
  let longest = match.least - 1;
  for (let at = length - 1; at >= Math.max(0, length - windowTokens) && longest < match.most; at--) {
    if (tokens[at] !== last) continue;
    const common = commonEnd(tokens, at, length);
    if (common <= longest) continue;
    longest = common;
    best = at;
  }
  return best < 0 ? [] : continueFrom(tokens, length, last, { at: best, most });
}

/** How many tokens up to `at` equal those at the text's end, whose last one is known to. */
function commonEnd(tokens: Int32Array, at: number, length: number): number {
  let common = 1;
  while (common < match.most && common <= at && tokens[at - common] === tokens[length - common]) common++;
  return common;
}

/** What follows `at`; beyond the text's end, what was guessed follows, as if the repetition went on. */
function continueFrom(tokens: Int32Array, length: number, last: number, { at, most }: { at: number; most: number }) {
  const guessed: number[] = [];
  for (let next = at + 1; guessed.length < most; next++) {
    if (next < length) guessed.push(tokens[next]!);
    else guessed.push(next === length ? last : guessed[next - length - 1]!);
  }
  return guessed;
}
