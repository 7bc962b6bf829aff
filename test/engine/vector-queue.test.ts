// Batching of inputs from several calls, over a runner that the test holds in its hand.
import test from "ava";
import { VectorQueue } from "../../src/engine/vector-queue.ts";

/** Batches as they were run, and a way to end each. A row is the input's first token. */
function createQueue(limits: { maxTokens?: number; maxInputs?: number } = {}) {
  const batches: number[][] = [];
  const ends: { finish: () => void; fail: (error: Error) => void }[] = [];
  const run = (inputs: readonly Int32Array[]) => {
    batches.push(inputs.map((input) => input[0]!));
    return new Promise<Float32Array[]>((resolve, reject) => {
      const finish = () => resolve(inputs.map((input) => Float32Array.of(input[0]!)));
      ends.push({ finish, fail: reject });
    });
  };
  const queue = new VectorQueue({ maxTokens: 8, maxInputs: 4, ...limits, run });
  /** Ends the oldest batch under way and lets the next one begin. */
  const next = async (error?: Error) => {
    const end = ends.shift()!;
    if (error) end.fail(error);
    else end.finish();
    await turn();
  };
  return { queue, batches, next };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const input = (first: number, length = 1) => new Int32Array(length).fill(first);
const alive = new AbortController().signal;
const numbers = (rows: Float32Array[]) => rows.map((row) => row[0]);

test("calls that arrive together share a batch, and each gets its own rows in order", async (t) => {
  const { queue, batches, next } = createQueue();
  const first = queue.add([input(1), input(2)], alive);
  const second = queue.add([input(3)], alive);
  await turn();
  t.deepEqual(batches, [[1, 3, 2]]);
  await next();
  t.deepEqual(numbers(await first), [1, 2]);
  t.deepEqual(numbers(await second), [3]);
});

test("a batch holds no more tokens and inputs than it may, but a long input has one of its own", async (t) => {
  const { queue, batches, next } = createQueue();
  const inputs = [input(1, 5), input(2, 4), input(3, 20), ...[4, 5, 6, 7, 8].map((first) => input(first))];
  const rows = queue.add(inputs, alive);
  await turn();
  while (batches.flat().length < inputs.length) await next();
  await next();
  t.deepEqual(batches, [[1], [2], [3], [4, 5, 6, 7], [8]]);
  t.deepEqual(numbers(await rows), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("a call with many inputs delays another one by a batch", async (t) => {
  const { queue, batches, next } = createQueue({ maxInputs: 2 });
  const many = queue.add(
    Array.from({ length: 10 }, () => input(1)),
    alive,
  );
  await turn();
  const one = queue.add([input(2)], alive);
  await next();
  t.deepEqual(batches[1], [1, 2]);
  await next();
  t.deepEqual(numbers(await one), [2]);
  for (let batch = 0; batch < 4; batch++) await next();
  t.is((await many).length, 10);
});

test("a call that is given up takes no further part, and the others go on", async (t) => {
  const { queue, batches, next } = createQueue({ maxInputs: 1 });
  const leaving = new AbortController();
  const gone = queue.add([input(1), input(1)], leaving.signal);
  const stays = queue.add([input(2), input(2)], alive);
  await turn();
  leaving.abort(new Error("left"));
  await t.throwsAsync(gone, { message: "left" });
  for (let batch = 0; batch < 3; batch++) await next();
  t.deepEqual(batches, [[1], [2], [2]]);
  t.is((await stays).length, 2);
  await t.throwsAsync(queue.add([input(1)], leaving.signal), { message: "left" });
});

test("a batch that fails fails its calls; the next call works", async (t) => {
  const { queue, batches, next } = createQueue();
  const failed = queue.add([input(1)], alive);
  await turn();
  const later = queue.add([input(2)], alive);
  const told = t.throwsAsync(failed, { message: "broken" });
  await next(new Error("broken"));
  await told;
  await next();
  t.deepEqual(numbers(await later), [2]);
  t.is(batches.length, 2);
});

test("closing refuses who waits, waits for the batch under way, and lets nobody in", async (t) => {
  const { queue, next } = createQueue({ maxInputs: 1 });
  const running = queue.add([input(1)], alive);
  await turn();
  const waiting = queue.add([input(2)], alive);
  const refused = t.throwsAsync(waiting, { message: "closed" });
  let closed = false;
  const closing = queue.close(new Error("closed")).then(() => {
    closed = true;
  });
  await refused;
  t.false(closed);
  await next();
  await closing;
  t.deepEqual(numbers(await running), [1]);
  await t.throwsAsync(queue.add([input(3)], alive), { message: "closed" });
});

test("no inputs, no rows", async (t) => {
  const { queue, batches } = createQueue();
  t.deepEqual(await queue.add([], alive), []);
  t.deepEqual(batches, []);
});
