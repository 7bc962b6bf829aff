// Prefill is shared between keys: what the batches hold shows whose prompt was evaluated when.
import test from "ava";
import fc from "fast-check";
import { PrefillTurns } from "../../src/engine/prefill-turns.ts";
import type { Sequence } from "../../src/engine/sequences.ts";

/** A sequence whose prompt is unfinished, as far as turns look at it. */
function prefilling(keyId: string, order: number): Sequence {
  const generation = { order, request: { caller: { keyId, requestId: "r" } } };
  return { generation } as unknown as Sequence;
}

const keyOf = ({ generation }: Sequence) => generation!.request.caller!.keyId;

/** Gives `tokens` to whoever is first, `steps` times; the keys in turn. */
function serve(turns: PrefillTurns, sequences: Sequence[], steps: number, tokens = 10): string {
  return Array.from({ length: steps }, () => {
    turns.sort(sequences);
    turns.took(sequences[0]!, tokens);
    return keyOf(sequences[0]!);
  }).join("");
}

test("keys take turns, whoever came first and however many prompts they have", (t) => {
  const sequences = [prefilling("a", 0), prefilling("a", 1), prefilling("a", 2), prefilling("b", 3)];
  t.is(serve(new PrefillTurns(), sequences, 6), "ababab");
});

test("within a key the first to come is first", (t) => {
  const turns = new PrefillTurns();
  const sequences = [prefilling("a", 2), prefilling("a", 0), prefilling("a", 1)];
  turns.sort(sequences);
  t.deepEqual(
    sequences.map(({ generation }) => generation!.order),
    [0, 1, 2],
  );
});

test("who comes later starts level: it neither catches up nor waits", (t) => {
  const turns = new PrefillTurns();
  const early = prefilling("a", 0);
  serve(turns, [early], 5);
  t.is(serve(turns, [early, prefilling("b", 1)], 4), "abab");
});

test("no key with an unfinished prompt gets more than one chunk ahead of another", (t) => {
  const property = fc.property(
    fc.array(fc.record({ key: fc.constantFrom("a", "b", "c"), tokens: fc.integer({ min: 1, max: 100 }) }), {
      minLength: 3,
      maxLength: 8,
    }),
    fc.integer({ min: 1, max: 60 }),
    (prompts, steps) => {
      const turns = new PrefillTurns();
      const sequences = prompts.map(({ key }, order) => prefilling(key, order));
      const served = new Map<string, number>(prompts.map(({ key }) => [key, 0]));
      const largest = Math.max(...prompts.map(({ tokens }) => tokens));
      for (let step = 0; step < steps; step++) {
        turns.sort(sequences);
        const first = sequences[0]!;
        const { tokens } = prompts[first.generation!.order]!;
        turns.took(first, tokens);
        served.set(keyOf(first), served.get(keyOf(first))! + tokens);
        const all = [...served.values()];
        if (Math.max(...all) - Math.min(...all) > largest) return false;
      }
      return true;
    },
  );
  fc.assert(property);
  t.pass();
});
