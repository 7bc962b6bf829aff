import test from "ava";
import { PrefillBudget } from "../../src/engine/prefill-budget.ts";

/** Tokens that nobody would read at once. */
const long = 10_000;

/** That has seen a machine on which decoding takes 20 ms and 1 ms for each sequence, and a prompt token one; or a faster one. */
function learned(targetMs: number, tokenMs = 1, capacity = 2048, faster = 1): PrefillBudget {
  const budget = new PrefillBudget(targetMs, capacity);
  const decodeMs = (sequences: number) => (sequences > 0 ? (20 + sequences) / faster : 0);
  for (let round = 0; round < 20; round++) {
    for (const [decoding, tokens] of [
      [0, 100],
      [1, 0],
      [10, 0],
      [20, 0],
      [10, 50],
    ] as const)
      budget.observe(decoding, tokens, decodeMs(decoding) + tokens * tokenMs);
  }
  return budget;
}

test("starts small, then fits what was measured into the target", (t) => {
  t.is(new PrefillBudget(50, 2048).tokens(1, 1, long), PrefillBudget.initialTokens);
  const tokens = learned(70).tokens(10, 1, long);
  t.true(tokens >= 37 && tokens <= 41, `${tokens} beside 30 ms of 70`);
});

test("half of a step is the prompts', two thirds where decoding alone takes too long; no stream is made more than three times slower unless asked for", (t) => {
  const slow = learned(10).tokens(20, 1, long);
  t.true(slow >= 77 && slow <= 82, `${slow} of 80 ms more than 40`);
  const half = learned(60).tokens(10, 1, long);
  t.true(half >= 28 && half <= 32, `${half} of another 30 ms`);
  const fast = learned(50, 1, 2048, 5).tokens(10, 1, long);
  t.true(fast >= 11 && fast <= 13, `${fast} of 18 ms, less 6`);
  const patient = learned(500).tokens(10, 1, long);
  t.true(patient >= 460 && patient <= 480, `${patient} of the 500 ms asked for, less 30`);
});

test("prompts that outnumber the streams get longer steps, up to a bound; a few hardly do", (t) => {
  const budget = learned(70);
  const few = budget.tokens(10, 2, long);
  t.true(few >= 43 && few <= 48, `${few} of 70 ms and a little more, less 30`);
  const many = budget.tokens(10, 20, long);
  t.true(many >= 580 && many <= 620, `${many} of nine times 70 ms, less 30`);
  t.is(budget.tokens(1, 20, long), budget.tokens(1, 200, long));
});

test("where decoding alone misses the target short prompts are read at once", (t) => {
  const slow = learned(30);
  t.is(slow.tokens(20, 2, 600), 2048, "15 steps of 40 ms");
  t.true(slow.tokens(20, 2, 700) < 100, "too long");
  t.true(learned(50).tokens(20, 2, 600) < 100, "the target can be kept");
  const slower = learned(30, 1, 2048, 0.25);
  t.is(slower.tokens(20, 2, 900), 2048);
  t.true(slower.tokens(20, 2, 1100) < 400, "more than a second");
});

test("a prompt always gets some tokens, and never more than the batch holds", (t) => {
  t.is(learned(50, 1000).tokens(10, 1, long), PrefillBudget.leastTokens);
  t.is(learned(10_000, 0.001, 512).tokens(10, 1, long), 512);
});
