// Guesses as the addon makes them with llama.cpp's common_speculative_*: of a draft model, and from the text; without scheduler.
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import type { NativeContextOptions, NativeDraftContext, NativeDraftRequest } from "../../src/engine/addon.ts";
import { greedy } from "../helpers/requests.ts";
import { loadTinyModel } from "../helpers/tiny-engine.ts";

const options: NativeContextOptions = {
  contextTokens: 256,
  batchTokens: 32,
  microBatchTokens: 32,
  sequences: 2,
  threads: 1,
  flashAttention: "off",
  keyType: "f16",
  valueType: "f16",
  unified: false,
};
const mostGuesses = 8;

async function setUp(t: ExecutionContext) {
  const { addon, native } = await loadTinyModel(t);
  const textOf = (text: string) => native.tokenize(text, true, true);
  const createDrafts = (leastProbability = 0) =>
    addon.createDraftContext(native, options, mostGuesses, leastProbability);
  const withDrafts = async <T>(use: (context: NativeDraftContext) => Promise<T>, leastProbability = 0) => {
    const context = await createDrafts(leastProbability);
    try {
      return await use(context);
    } finally {
      context.dispose();
    }
  };
  /** What the model itself says next, token by token. */
  const greedyTokens = async (text: Int32Array, count: number) => {
    const context = await addon.createContext(native, options);
    context.setSampler(0, greedy, new Int32Array(), -1);
    const { tokens, positions, sequences, outputs, sampled } = context.buffers();
    const all = [...text];
    for (let position = 0; all.length < text.length + count; position++) {
      [tokens[0], positions[0], sequences[0], outputs[0]] = [all[position]!, position, 0, 1];
      await context.step(1);
      if (position === all.length - 1) all.push(sampled[0]!);
    }
    context.dispose();
    return all.slice(text.length);
  };
  return { addon, textOf, createDrafts, withDrafts, greedyTokens };
}

const request = (text: Int32Array, overrides: Partial<NativeDraftRequest> = {}): NativeDraftRequest => ({
  sequence: 0,
  keep: 0,
  read: text.subarray(0, -1),
  last: text.at(-1)!,
  most: mostGuesses,
  ...overrides,
});
const guesses = async (context: NativeDraftContext, asked: NativeDraftRequest) => [
  ...(await context.draft([asked]))[0]!.guesses,
];

test.serial("guesses are what the model would say, for two texts at once, read at once or bit by bit", async (t) => {
  const { textOf, greedyTokens, withDrafts } = await setUp(t);
  const [cat, counting] = [await textOf("The cat is grey. The cat"), await textOf("1, 2, 3, 4, 5, 6,")];
  const [catGoesOn, countingGoesOn] = [await greedyTokens(cat, mostGuesses), await greedyTokens(counting, 4)];
  await withDrafts(async (context) => {
    const both = [request(cat), request(counting, { sequence: 1, most: 4 })];
    const drafts = await context.draft(both);
    t.deepEqual([...drafts[0]!.guesses], catGoesOn);
    t.deepEqual([...drafts[1]!.guesses], countingGoesOn);
    t.deepEqual(
      drafts.map(({ length }) => length),
      [cat.length + mostGuesses - 1, counting.length + 3],
    );
    // From what is held of a text, after another end of it, and with nothing left to read.
    t.deepEqual(await guesses(context, request(cat, { keep: 3, read: cat.subarray(3, -1) })), catGoesOn);
    const half = { read: cat.subarray(0, 4), most: 0 };
    t.deepEqual(await context.draft([request(cat, half)]), [{ guesses: new Int32Array(), length: 4 }]);
    t.deepEqual(await guesses(context, request(cat, { keep: 4, read: cat.subarray(4, -1) })), catGoesOn);
    const nothingNew = { keep: cat.length - 1, read: new Int32Array() };
    t.deepEqual(await guesses(context, request(cat, nothingNew)), catGoesOn);
  });
});

test.serial("a draft ends where the model is less sure than asked for", async (t) => {
  const { textOf, withDrafts } = await setUp(t);
  const text = await textOf("Once upon a time");
  const [least, all] = await Promise.all([0.9999, 0].map((p) => withDrafts((c) => guesses(c, request(text)), p)));
  t.is(all!.length, mostGuesses);
  t.true(least!.length < mostGuesses);
  t.deepEqual(least, all!.slice(0, least!.length));
});

test.serial("what cannot be asked for is an error, and the context goes on working", async (t) => {
  const { textOf, withDrafts } = await setUp(t);
  const text = await textOf("The cat is grey.");
  await withDrafts(async (context) => {
    const expected = await guesses(context, request(text));
    const wrong: [Partial<NativeDraftRequest>, RegExp][] = [
      [{ sequence: 2 }, /no such sequence/],
      [{ sequence: -1 }, /no such sequence/],
      [{ keep: -1 }, /0 or more/],
      [{ most: mostGuesses + 1 }, /0 to 8/],
      [{ last: 1e6 }, /vocabulary/],
      [{ read: Int32Array.of(-1) }, /vocabulary/],
      [{ read: new Int32Array(33) }, /more tokens than one batch/],
      [{ keep: 1000, read: new Int32Array() }, /beyond the context/],
      [{ read: [1, 2] as unknown as Int32Array }, /Int32Array/],
    ];
    for (const [overrides, message] of wrong) t.throws(() => context.draft([request(text, overrides)]), { message });
    t.throws(() => context.draft([]), { message: /nothing/ });
    t.throws(() => context.draft([request(text), request(text)]), { message: /in order/ });
    t.throws(() => context.draft([null as unknown as NativeDraftRequest]), { message: /object/ });
    await t.throwsAsync(context.draft([request(text, { keep: 100, read: new Int32Array() })]), {
      message: /holds less/,
    });
    t.deepEqual(await guesses(context, request(text)), expected);
  });
});

test.serial("one draft at a time; dispose() aborts it, and everything is refused then", async (t) => {
  const { textOf, createDrafts } = await setUp(t);
  const text = await textOf("The cat is grey.");
  const context = await createDrafts();
  t.true(context.memory().contextBytes > 0);
  const running = context.draft([request(text)]);
  t.throws(() => context.draft([request(text)]), { message: /is running/ });
  t.throws(() => context.memory(), { message: /is running/ });
  t.is((await running).length, 1);
  const aborted = context.draft([request(text)]).then(
    () => "done",
    (error: Error) => error.message,
  );
  context.dispose();
  t.regex(await aborted, /^done$|disposed|llama_decode failed/);
  context.dispose();
  t.throws(() => context.draft([request(text)]), { message: /disposed/ });
});

test.serial("lookup takes what followed the longest repetition, the latest of equally long ones", async (t) => {
  const { addon } = await setUp(t);
  const lookup = new addon.PromptLookup([8, 3, 2], 4);
  const look = (text: number[], most = 4) => [...lookup.lookUp(Int32Array.from(text.slice(0, -1)), text.at(-1)!, most)];
  const filler = Array.from({ length: 20 }, (_, i) => 100 + i);
  t.deepEqual(look([0, 1, 2, 3, 7, 8, 9, ...filler, 1, 2, 3]), [7, 8, 9, 100]);
  t.deepEqual(look([0, 1, 2, 3, 7, 8, 9, ...filler, 4, 2, 3, 5, 6, ...filler, 1, 2, 3], 2), [7, 8], "three before two");
  t.deepEqual(look([0, 2, 3, 7, 8, ...filler, 2, 3, 5, 6, ...filler, 2, 3], 2), [5, 6]);
  t.deepEqual(look([0, 1, 2, 3, 7, 8, 9, ...filler, 1, 2, 3], 0), []);
  t.deepEqual(look([0, 3, 7, 8, ...filler, 1, 3]), [], "one token alone says nothing");
  t.deepEqual(look([5]), []);
  t.throws(() => new addon.PromptLookup([0], 4), { message: /1 to 65535/ });
  t.throws(() => new addon.PromptLookup([2], 0), { message: /1 to 65535/ });
});

test.serial("a guess from the text always stands there, after the tokens that repeat", async (t) => {
  const { addon } = await setUp(t);
  const repeated = [4, 2];
  const lookup = new addon.PromptLookup(repeated, 8);
  const texts = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 60, size: "max" });
  const found = { count: 0 };
  fc.assert(
    fc.property(texts, fc.integer({ min: 0, max: 8 }), (text, most) => {
      const guess = [...lookup.lookUp(Int32Array.from(text.slice(0, -1)), text.at(-1)!, most)];
      if (guess.length === 0) return true;
      found.count++;
      const stands = (size: number) => `,${text.join()},`.includes(`,${[...text.slice(-size), ...guess].join()},`);
      return guess.length <= most && repeated.some(stands);
    }),
  );
  t.true(found.count > 0);
});
