// Requests of different LoRA scales take turns.
import test from "ava";
import type { Generation } from "../../src/engine/generation.ts";
import { Sequence } from "../../src/engine/sequences.ts";
import { stepsPerTurn, Turns } from "../../src/engine/turns.ts";

/** Sequences that run with these settings; "" is idle, "!…" stalled. */
function running(...settings: string[]): Sequence[] {
  return settings.map((setting, id) => {
    const sequence = new Sequence(id);
    const stalled = setting.startsWith("!");
    if (setting) sequence.generation = { lora: setting.replace("!", ""), stalled } as Generation;
    return sequence;
  });
}

const ids = (sequences: ReadonlySet<Sequence>) => [...sequences].map(({ id }) => id);

test("requests of one setting all share every step", (t) => {
  const turns = new Turns();
  const sequences = running("a", "", "a", "!a");
  for (let step = 0; step < 3; step++) t.deepEqual(ids(turns.next(sequences)), [0, 2]);
  t.deepEqual(ids(turns.next(running("", "!a"))), []);
});

test("every setting gets turns of the same length, however many requests it has", (t) => {
  const turns = new Turns();
  const sequences = running("a", "b", "a", "c", "a");
  const steps = Array.from({ length: 6 * stepsPerTurn }, () => ids(turns.next(sequences)).join());
  const expected = ["0,2,4", "1", "3", "0,2,4", "1", "3"];
  t.deepEqual(
    steps,
    expected.flatMap((turn) => Array.from({ length: stepsPerTurn }, () => turn)),
  );
});

test("a setting whose requests are gone gives its turn away at once", (t) => {
  const turns = new Turns();
  t.deepEqual(ids(turns.next(running("a", "b"))), [0]);
  t.deepEqual(ids(turns.next(running("", "b"))), [1]);
  t.deepEqual(ids(turns.next(running("a", "b"))), [1]);
});

test("new settings that keep coming do not starve an old one", (t) => {
  const turns = new Turns();
  let served = 0;
  const steps = 30;
  for (let step = 0; step < steps; step++) {
    const sequences = running("old", ...Array.from({ length: 3 }, (_, i) => `new ${step} ${i}`));
    if (turns.next(sequences).has(sequences[0]!)) served++;
  }
  t.true(served >= steps / 4, `${served} of ${steps} steps`);
});
