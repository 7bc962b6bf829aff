// Large answers written in slices: the same text as JSON.stringify, and turns of the event loop in between.
import test from "ava";
import fc from "fast-check";
import { encodeInTurns, jsonInTurns } from "../../src/http/large-json.ts";
import { turnsDuring } from "../helpers/loop.ts";

const rows = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ token: `t${index}`, top: { a: -index, b: null } }));

const textOf = async (value: unknown) => Buffer.concat(await jsonInTurns(value)).toString();

test("the text is that of JSON.stringify", async (t) => {
  const large = {
    id: "x",
    left: undefined,
    choices: [{ text: 'é"', logprobs: { tops: rows(1000), none: null } }, rows(300)],
    n: -0,
  };
  t.is(await textOf(large), JSON.stringify(large));
  const plain = fc.object({ values: [fc.string(), fc.integer(), fc.boolean(), fc.constant(null)], maxDepth: 5 });
  await fc.assert(
    fc.asyncProperty(plain, async (value) => (await textOf(value)) === JSON.stringify(value)),
    { numRuns: 200 },
  );
});

test("others get their turn after every 256 elements of a long array", async (t) => {
  const turns = await turnsDuring(() => jsonInTurns({ rows: rows(256 * 12) }));
  t.true(turns >= 12, `${turns}`);
});

test("no slice is longer than about 256 thousand characters, whatever it is made of", async (t) => {
  const text = "x".repeat(100_000);
  const turns = await turnsDuring(async () => {
    const slices = await encodeInTurns(Array.from({ length: 40 }, () => text));
    t.is(Buffer.concat(slices).length, 40 * text.length);
    t.true(slices.every(({ length }) => length < 256 * 1024 + text.length));
  });
  t.true(turns >= 13, `${turns}`);
});
