// Who is guessed for, and how far; guesses from the text itself and from a draft model over a fake context.
import test from "ava";
import { DraftModel } from "../../src/engine/draft-model.ts";
import type { Generation } from "../../src/engine/generation.ts";
import { Sequence } from "../../src/engine/sequences.ts";
import { maxDraft, Speculation } from "../../src/engine/speculation.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { FakeDraftContext } from "../helpers/fake-draft-context.ts";
import { fakeLookup } from "../helpers/fake-lookup.ts";

const endToken = 99;

/** A decoding sequence that holds all of these tokens but the last one. */
function decoding(id: number, text: readonly number[], overrides: Partial<Generation> = {}): Sequence {
  const sequence = new Sequence(id);
  for (const token of text.slice(0, -1)) sequence.append(token);
  sequence.scope = "key";
  sequence.generation = {
    lastToken: text.at(-1),
    remaining: 100,
    prefilling: false,
    ended: false,
    ...overrides,
  } as Generation;
  return sequence;
}

const repeating = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3];

function setUp(draft?: DraftModel, mostRunning = 2) {
  const { log, lines } = capturedLog();
  const endTokens = new Set([endToken]);
  const speculation = new Speculation({
    lookup: draft ? undefined : fakeLookup,
    model: draft,
    mostRunning,
    endTokens,
    log,
  });
  const draftFor = (...sequences: Sequence[]) => {
    const running = sequences.filter(({ generation }) => generation);
    return speculation.draft(sequences, new Set(running));
  };
  return { speculation, draftFor, lines };
}

function draftModel(batchTokens = 16, contextTokens = 64) {
  const context = new FakeDraftContext(2, batchTokens);
  const dispose = async () => {};
  const model = new DraftModel({ context, sequences: 2, contextTokens, batchTokens, vocabSize: 100, dispose });
  /** What was read of each text, by call. */
  const read = () => context.asked.map((requests) => requests.map(({ keep, read }) => [keep, [...read]]));
  return { context, model, read };
}

test("only while at most two requests run and no prompt is being read", (t) => {
  const { draftFor } = setUp();
  const [a, b, c] = [0, 1, 2].map((id) => decoding(id, repeating));
  t.deepEqual([...(draftFor(a!, b!) as Map<Sequence, number[]>).keys()], [a, b]);
  t.is(draftFor(a!, b!, c!), undefined);
  t.is(draftFor(a!, decoding(1, repeating, { prefilling: true })), undefined);
  t.is(draftFor(a!, new Sequence(1)) instanceof Map, true, "an idle place does not count");
});

test("where only one request may run, two are not speculated for", (t) => {
  const { draftFor } = setUp(undefined, 1);
  const [a, b] = [0, 1].map((id) => decoding(id, repeating));
  t.is(draftFor(a!, b!), undefined);
  t.true(draftFor(a!) instanceof Map);
});

test("never more guesses than the answer may have tokens, and never an end token", (t) => {
  const { draftFor } = setUp();
  const guesses = (sequence: Sequence) => (draftFor(sequence) as Map<Sequence, number[]> | undefined)?.get(sequence);
  t.deepEqual(guesses(decoding(0, repeating, { remaining: 3 })), [4, 5]);
  t.is(guesses(decoding(0, repeating, { remaining: 1 })), undefined);
  t.deepEqual(guesses(decoding(0, [1, 2, 3, 4, endToken, 5, 1, 2, 3])), [4]);
});

test("right guesses grow longer up to a bound, wrong ones shorter and then rarer", (t) => {
  const { speculation, draftFor } = setUp();
  const sequence = decoding(
    0,
    Array.from({ length: 40 }, (_, i) => i % 20),
  );
  const length = () => (draftFor(sequence) as Map<Sequence, number[]> | undefined)?.get(sequence)?.length ?? 0;
  const lengths: number[] = [];
  for (let i = 0; i < 4; i++) {
    lengths.push(length());
    speculation.observe(sequence.generation!, lengths.at(-1)!, lengths.at(-1)!);
  }
  t.deepEqual(lengths, [4, 8, 16, maxDraft]);
  speculation.observe(sequence.generation!, 16, 3);
  t.is(length(), 3);
  speculation.observe(sequence.generation!, 3, 0);
  t.deepEqual([length(), length()], [0, 1]);
  speculation.observe(sequence.generation!, 1, 0);
  t.deepEqual([length(), length(), length()], [0, 0, 1]);
  t.deepEqual(speculation.info, { draftedTokens: 4 + 8 + 16 + 16 + 16 + 3 + 1, acceptedTokens: 4 + 8 + 16 + 16 + 3 });
});

test("a draft model reads a long text a batch at a time and guesses once it has", async (t) => {
  const { context, model } = draftModel(16);
  const sequence = decoding(
    0,
    Array.from({ length: 40 }, (_, i) => i),
  );
  const ask = async () => (await model.draft([{ sequence, last: 39, most: 3 }])).get(sequence);
  t.is(await ask(), undefined);
  t.is(context.lengths[0], 16);
  await ask();
  t.deepEqual(await ask(), [40, 41, 42]);
});

test("a draft model keeps what was right of its guesses, and reads nothing twice", async (t) => {
  const { model, read } = draftModel();
  const sequence = decoding(0, [1, 2, 3]);
  const ask = async (last: number, most: number) => (await model.draft([{ sequence, last, most }])).get(sequence);
  t.deepEqual(await ask(3, 3), [3, 4, 5]);
  for (const token of [3, 3]) sequence.append(token);
  t.deepEqual(await ask(50, 1), [5], "one guess was right");
  for (const token of [50, 5]) sequence.append(token);
  await ask(6, 1);
  t.deepEqual(read(), [[[0, [1, 2]]], [[4, []]], [[5, [5]]]], "its last guess was never decoded");
});

test("two sequences are guessed for in one batch; another cache scope's text is never built upon", async (t) => {
  const { model, read } = draftModel();
  const [a, b] = [decoding(0, [1, 2, 3]), decoding(1, [1, 2, 3])];
  const both = await model.draft([a, b].map((sequence) => ({ sequence, last: 3, most: 2 })));
  const guesses = [3, 4];
  t.deepEqual(
    [...both],
    [
      [a, guesses],
      [b, guesses],
    ],
  );
  const stranger = decoding(0, [1, 2, 3]);
  stranger.scope = "another key";
  await model.draft([{ sequence: stranger, last: 3, most: 1 }]);
  const whole = [0, [1, 2]];
  t.deepEqual(read(), [[whole, whole], [whole]]);
});

test("a request that others begin like keeps its place in the draft model", async (t) => {
  const { model, read } = draftModel();
  const [a, b] = [decoding(0, [1, 2, 3, 4, 5]), decoding(1, [1, 2, 3, 6])];
  await model.draft([{ sequence: a, last: 5, most: 1 }]);
  await model.draft([{ sequence: b, last: 6, most: 1 }]);
  a.append(5);
  await model.draft([{ sequence: a, last: 6, most: 1 }]);
  t.deepEqual(read().at(-1), [[5, []]]);
});

test("a draft ends where the draft model is unsure, its vocabulary or its context ends", async (t) => {
  const { context, model } = draftModel(16, 8);
  const sequence = decoding(0, [1, 2, 3]);
  const ask = async (last: number, most: number) => (await model.draft([{ sequence, last, most }])).get(sequence);
  t.is(await ask(3, 6), undefined, "no room");
  t.is(await ask(100, 2), undefined, "a token that it does not know");
  context.guess = (position) => 96 + position;
  t.deepEqual(await ask(3, 2), [99], "one that the main model does not know");
  context.sureOf = 0;
  t.deepEqual(await ask(3, 2), []);
});

test("a draft model that is sure of nothing is asked ever more rarely", async (t) => {
  const { context, model } = draftModel();
  context.sureOf = 0;
  const { draftFor } = setUp(model);
  const sequence = decoding(0, [1, 2, 3]);
  const asked: boolean[] = [];
  for (let step = 0; step < 8; step++) {
    const drafts = draftFor(sequence);
    asked.push(drafts !== undefined);
    t.is((await drafts)?.size ?? 0, 0);
  }
  t.deepEqual(asked, [true, false, true, false, false, true, false, false]);
});

test("a draft model that fails is not asked again, and answers go on", async (t) => {
  const { context, model } = draftModel();
  context.failure = new Error("out of memory");
  const { draftFor, lines } = setUp(model);
  t.is((await draftFor(decoding(0, [1, 2, 3]))!).size, 0);
  t.is(draftFor(decoding(0, [1, 2, 3])), undefined);
  t.true(lines().some((line) => JSON.stringify(line).includes("draft model failed")));
});

test("after a failure nothing of what a draft model held is built upon", async (t) => {
  const { context, model, read } = draftModel();
  const ask = () => model.draft([{ sequence: decoding(0, [1, 2, 3]), last: 3, most: 1 }]);
  await ask();
  context.failure = new Error("out of memory");
  await t.throwsAsync(ask(), { is: context.failure });
  context.failure = undefined;
  await ask();
  t.deepEqual(read().at(-1), [[0, [1, 2]]]);
});
