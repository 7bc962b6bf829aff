// Large answers written in slices: the same text as JSON.stringify, and turns of the event loop in between.
import test from "ava";
import fc from "fast-check";
import { stringifyInTurns } from "../../src/http/large-json.ts";

const rows = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ token: `t${index}`, top: { a: -index, b: null } }));

test("the text is that of JSON.stringify", async (t) => {
  const large = {
    id: "x",
    left: undefined,
    choices: [{ text: 'é"', logprobs: { tops: rows(1000), none: null } }, rows(300)],
    n: -0,
  };
  t.is(await stringifyInTurns(large), JSON.stringify(large));
  const plain = fc.object({ values: [fc.string(), fc.integer(), fc.boolean(), fc.constant(null)], maxDepth: 5 });
  await fc.assert(
    fc.asyncProperty(plain, async (value) => (await stringifyInTurns(value)) === JSON.stringify(value)),
    { numRuns: 200 },
  );
});

test("others get their turn after every 256 elements of a long array", async (t) => {
  let turns = 0;
  let over = false;
  const count = () => {
    turns += 1;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  await stringifyInTurns({ rows: rows(256 * 12) });
  over = true;
  t.true(turns >= 12, `${turns}`);
});
