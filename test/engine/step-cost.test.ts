import test from "ava";
import fc from "fast-check";
import { StepCost } from "../../src/engine/step-cost.ts";

type Truth = { readonly base: number; readonly each: number; readonly token: number };

const stepMs = ({ base, each, token }: Truth, sequences: number, tokens: number) =>
  (sequences > 0 ? base : 0) + each * sequences + token * tokens;

/** Steps as they come: prompts alone, decoding alone, both. */
const steps = (seed: number) =>
  fc.sample(
    fc.oneof(
      fc.tuple(fc.constant(0), fc.integer({ min: 1, max: 512 })),
      fc.tuple(fc.integer({ min: 1, max: 32 }), fc.constant(0)),
      fc.tuple(fc.integer({ min: 1, max: 32 }), fc.integer({ min: 1, max: 512 })),
    ),
    { seed, numRuns: 200 },
  );

const around = (value: number, truth: number) => Math.abs(value - truth) <= 0.15 * truth;

test("learns what decoding and prompt tokens cost, whatever the machine", (t) => {
  const machine = fc.record({
    base: fc.double({ min: 1, max: 60, noNaN: true }),
    each: fc.double({ min: 0.2, max: 10, noNaN: true }),
    token: fc.double({ min: 0.02, max: 10, noNaN: true }),
  });
  fc.assert(
    fc.property(machine, fc.integer(), (truth, seed) => {
      const cost = new StepCost();
      for (const [sequences, tokens] of steps(seed)) cost.observe(sequences, tokens, stepMs(truth, sequences, tokens));
      t.true(around(cost.promptTokenMs, truth.token), `a prompt token: ${cost.promptTokenMs}`);
      for (const sequences of [1, 8, 32]) {
        const ms = cost.decodeMs(sequences);
        t.true(around(ms, stepMs(truth, sequences, 0)), `${sequences} sequences: ${ms} of ${JSON.stringify(truth)}`);
      }
    }),
    { numRuns: 100 },
  );
});

test("always the same step teaches nothing about its parts, and undoes nothing", (t) => {
  const truth = { base: 20, each: 5, token: 4 };
  const cost = new StepCost();
  for (const [sequences, tokens] of steps(1)) cost.observe(sequences, tokens, stepMs(truth, sequences, tokens));
  for (let i = 0; i < 10_000; i++) cost.observe(8, 0, stepMs(truth, 8, 0));
  t.true(around(cost.promptTokenMs, truth.token));
  for (let i = 0; i < 10_000; i++) cost.observe(8, 16, stepMs(truth, 8, 16));
  t.true(around(cost.decodeMs(8) + 16 * cost.promptTokenMs, stepMs(truth, 8, 16)));
  t.true(cost.decodeMs(8) > 0 && cost.promptTokenMs > 0);
});

test("one step that takes ten times as long changes little; a machine that has become slower is noticed", (t) => {
  const truth = { base: 20, each: 5, token: 4 };
  const cost = new StepCost();
  for (const [sequences, tokens] of steps(2)) cost.observe(sequences, tokens, stepMs(truth, sequences, tokens));
  const before = cost.decodeMs(8);
  cost.observe(8, 0, 10 * before);
  t.true(cost.decodeMs(8) < 1.5 * before);
  for (let i = 0; i < 100; i++) cost.observe(8, 0, 3 * before);
  t.true(around(cost.decodeMs(8), 3 * before));
});

test("figures stay positive and finite whatever is measured", (t) => {
  const step = fc.tuple(fc.nat(256), fc.nat(65_536), fc.double({ min: 0, max: 1e6, noNaN: true }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (observed) => {
      const cost = new StepCost();
      for (const [sequences, tokens, ms] of observed) cost.observe(sequences, tokens, ms);
      t.true(observed.length === 0 || (cost.decodeMs(1) > 0 && Number.isFinite(cost.decodeMs(256))));
      t.true(observed.length === 0 || (cost.promptTokenMs > 0 && Number.isFinite(cost.promptTokenMs)));
    }),
    { numRuns: 1000, examples: [[[[0, 0, 0]]], [Array(300).fill([1, 1, 0])]] },
  );
});
