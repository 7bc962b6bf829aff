// Requests of different LoRA scales take turns.
import test from "ava";
import type { Generation } from "../../src/engine/generation.ts";
import { Sequence } from "../../src/engine/sequences.ts";
import { Turns } from "../../src/engine/turns.ts";

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

test("every setting gets each n-th step, however many requests it has", (t) => {
  const turns = new Turns();
  const sequences = running("a", "b", "a", "c", "a");
  const steps = Array.from({ length: 6 }, () => ids(turns.next(sequences)));
  t.deepEqual(steps, [[0, 2, 4], [1], [3], [0, 2, 4], [1], [3]]);
});

test("new settings that keep coming do not starve an old one", (t) => {
  const turns = new Turns();
  let served = 0;
  for (let step = 0; step < 30; step++) {
    const sequences = running("old", ...Array.from({ length: 3 }, (_, i) => `new ${step} ${i}`));
    if (turns.next(sequences).has(sequences[0]!)) served++;
  }
  t.true(served >= 7, `${served} of 30 steps`);
});
