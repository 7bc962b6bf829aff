import test from "ava";
import { PrefillBudget } from "../../src/engine/prefill-budget.ts";

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
  t.is(new PrefillBudget(50, 2048).tokens(1, 1), PrefillBudget.initialTokens);
  const tokens = learned(70).tokens(10, 1);
  t.true(tokens >= 37 && tokens <= 41, `${tokens} beside 30 ms of 70`);
});

test("half of a step is the prompts' however slow decoding is; no stream is made more than three times slower unless asked for", (t) => {
  const slow = learned(10).tokens(20, 1);
  t.true(slow >= 37 && slow <= 42, `${slow} of another 40 ms`);
  const fast = learned(50, 1, 2048, 5).tokens(10, 1);
  t.true(fast >= 11 && fast <= 13, `${fast} of 18 ms, less 6`);
  const patient = learned(500).tokens(10, 1);
  t.true(patient >= 460 && patient <= 480, `${patient} of the 500 ms asked for, less 30`);
});

test("prompts that outnumber the streams get longer steps, up to a bound; a few hardly do", (t) => {
  const budget = learned(70);
  const few = budget.tokens(10, 2);
  t.true(few >= 40 && few <= 44, `${few} of 70 ms and a little more, less 30`);
  const many = budget.tokens(10, 20);
  t.true(many >= 310 && many <= 330, `${many} of five times 70 ms, less 30`);
  t.is(budget.tokens(1, 20), budget.tokens(1, 200));
});

test("a prompt always gets some tokens, and never more than the batch holds", (t) => {
  t.is(learned(50, 1000).tokens(10, 1), PrefillBudget.leastTokens);
  t.is(learned(10_000, 0.001, 512).tokens(10, 1), 512);
});
