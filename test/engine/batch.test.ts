import test from "ava";
import { PrefillBudget } from "../../src/engine/batch.ts";

test("the prefill budget starts small, then fits what was measured into the target", (t) => {
  const budget = new PrefillBudget(50, 2048);
  t.is(budget.tokens, PrefillBudget.initialTokens);
  budget.observe(0, 100, 50); // two tokens a millisecond
  t.is(budget.tokens, 100);
  budget.observe(4, 0, 30); // a decode step alone takes 30 of the 50
  t.is(budget.tokens, 40);
});

test("the prefill budget never starves a prompt and never exceeds the batch", (t) => {
  const slow = new PrefillBudget(10, 2048);
  slow.observe(0, 1, 1000);
  t.is(slow.tokens, PrefillBudget.leastTokens);
  const fast = new PrefillBudget(10_000, 512);
  fast.observe(0, 512, 1);
  t.is(fast.tokens, 512);
});

test("prefill beside decoding is measured without the decode part", (t) => {
  const budget = new PrefillBudget(100, 2048);
  budget.observe(4, 0, 40);
  budget.observe(4, 60, 100);
  t.is(budget.tokens, 60);
});
