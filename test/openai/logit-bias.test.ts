// Biases by text and by id come to one bias for each token inside the vocabulary.
import test from "ava";
import { createMockEngine, mockTokens } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { resolveLogitBias } from "../../src/openai/logit-bias.ts";
import { refusal } from "../helpers/parsing.ts";

const { model } = createMockEngine();
const codes = (text: string) => Int32Array.from(Buffer.from(text));
const resolve = (entries: [token: number | string, bias: number][]) =>
  resolveLogitBias(
    entries.map(([token, bias]) => ({ token, bias, path: `logit_bias.${token}` })),
    { model, tokenize: async (text) => codes(text) },
  );

test("text biases each of its tokens and the last entry for a token wins", async (t) => {
  t.deepEqual(
    await resolve([
      ["ab", 1],
      [98, 2],
      ["c", Number.NEGATIVE_INFINITY],
      [97, 3],
    ]),
    [
      [97, 3],
      [98, 2],
      [99, Number.NEGATIVE_INFINITY],
    ],
  );
  t.deepEqual(await resolve([]), []);
});

test("an id outside the vocabulary is refused with its place", async (t) => {
  for (const id of [-1, mockTokens.vocabSize]) {
    const failure = await t.throwsAsync(resolve([[id, 1]]), { instanceOf: Failure });
    const told = refusal(() => {
      throw failure;
    });
    t.like(told, { status: 400, code: "invalid_value", param: `logit_bias.${id}` });
  }
  await t.notThrowsAsync(resolve([[mockTokens.vocabSize - 1, 1]]));
});
