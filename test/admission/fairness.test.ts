// One key sends many calls, another few: who gets which place when, on a clock that the test moves, and what the few wait for it.
import { setMaxListeners } from "node:events";
import test from "ava";
import { Gate } from "../../src/admission/gate.ts";
import { settle } from "../helpers/admission.ts";
import { FakeClock } from "../helpers/fake-clock.ts";

const never = new AbortController().signal;
setMaxListeners(0, never);

const places = 4;
/** Of every answer. */
const answerMs = 1000;
/** Everything happens at a multiple of it. */
const tickMs = 250;

type Calls = { readonly keyId: string; readonly count: number; readonly atMs?: number; readonly staggerMs?: number };

/** A gate, the calls that run through it, and what came of them. */
class Run {
  readonly #clock = new FakeClock(0);
  readonly #gate = new Gate({
    config: { maxQueueSize: 0, maxQueuedTokens: 0, queueTimeout: 1_000_000 },
    places: () => places,
    clock: this.#clock,
  });
  #open = 0;
  /** Key_ids in the order in which places were given. */
  readonly order: string[] = [];
  /** Milliseconds from coming to the end of the answer, by key_id. */
  readonly latencies = new Map<string, number[]>();

  /** To the end of them all. */
  async send(...all: readonly Calls[]): Promise<void> {
    const beganMs = this.#clock.now();
    const calls = all.flatMap(({ keyId, count, atMs = 0, staggerMs = 0 }) =>
      Array.from({ length: count }, (_, i) => ({ keyId, atMs: beganMs + atMs + i * staggerMs })),
    );
    this.#open += calls.length;
    while (this.#open > 0) {
      for (const { keyId, atMs } of calls) if (atMs === this.#clock.now()) void this.#call(keyId);
      await settle();
      this.#clock.advance(tickMs);
      await settle();
    }
  }

  async #call(keyId: string): Promise<void> {
    const cameMs = this.#clock.now();
    const place = await this.#gate.enter({ keyId, promptTokens: 1, signal: never });
    this.order.push(keyId);
    this.#clock.after(answerMs, () => {
      place.release();
      this.latencies.set(keyId, [...(this.latencies.get(keyId) ?? []), this.#clock.now() - cameMs]);
      this.#open -= 1;
    });
  }
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The few calls of one key alone, and beside the 50 of another. */
async function compare(few: Omit<Calls, "keyId" | "count">, ...many: Omit<Calls, "keyId">[]) {
  const [alone, beside] = [new Run(), new Run()];
  const five = { ...few, keyId: "few", count: 5 };
  await alone.send(five);
  await beside.send(...many.map((calls) => ({ ...calls, keyId: "many" })), five);
  const [a, b] = [alone.latencies.get("few")!, beside.latencies.get("few")!];
  return { order: beside.order, alone: a, beside: b, mean: mean(b) / mean(a), max: Math.max(...b) / Math.max(...a) };
}

const lockstep = [{ count: 50 }];
/** Four places that come free one after the other, and the rest waiting for them. */
const staggered = [
  { count: 4, staggerMs: 250 },
  { count: 46, atMs: 750 },
];

const times = <T>(count: number, value: T) => Array.from({ length: count }, () => value);
/** The many hold all places; the few catch up as many, and then they take turns. */
const orderOfBoth = [...times(4, "many"), ...times(4, "few"), "many", "few", ...times(45, "many")];

test("50 calls and then 5 of another key, answers in lockstep: 5 wait less than twice as long as alone", async (t) => {
  const { order, alone, beside, ...ratio } = await compare({}, ...lockstep);
  t.deepEqual(order, orderOfBoth);
  t.deepEqual(alone, [1000, 1000, 1000, 1000, 2000]);
  t.deepEqual(beside, [2000, 2000, 2000, 2000, 3000]);
  t.deepEqual(ratio, { mean: 11 / 6, max: 1.5 });
});

test("the same when the 5 come in the middle of the first answers", async (t) => {
  const { order, alone, beside, ...ratio } = await compare({ atMs: 500 }, ...lockstep);
  t.deepEqual(order, orderOfBoth);
  t.deepEqual(alone, [1000, 1000, 1000, 1000, 2000]);
  t.deepEqual(beside, [1500, 1500, 1500, 1500, 2500]);
  t.deepEqual(ratio, { mean: 8.5 / 6, max: 1.25 });
});

test("answers that end one after the other: the 5 get the first four places that come free", async (t) => {
  const { order, alone, beside, ...ratio } = await compare({ atMs: 750 }, ...staggered);
  t.deepEqual(order, orderOfBoth);
  t.deepEqual(alone, [1000, 1000, 1000, 1000, 2000]);
  t.deepEqual(beside, [1250, 1500, 1750, 2000, 2500]);
  t.deepEqual(ratio, { mean: 1.5, max: 1.25 });
});

test("5 that come one after the other as well", async (t) => {
  const { order, alone, beside, ...ratio } = await compare({ atMs: 1000, staggerMs: 250 }, ...staggered);
  t.deepEqual(order.slice(0, 11), [...times(5, "many"), ...times(4, "few"), "many", "few"]);
  t.deepEqual(alone, times(5, 1000));
  t.true(ratio.mean < 2 && ratio.max <= 2, JSON.stringify({ beside, ...ratio }));
});

test("calls that ran while nobody had to wait count for nothing later", async (t) => {
  const run = new Run();
  await run.send({ keyId: "few", count: 4 });
  await run.send({ keyId: "few", count: 5 });
  run.order.length = 0;
  await run.send({ keyId: "many", count: 50 }, { keyId: "few", count: 5 });
  t.deepEqual(run.order, orderOfBoth);
});

test("the many come after the few: they catch up, and the one that waits is next", async (t) => {
  const run = new Run();
  await run.send({ keyId: "few", count: 5 }, { keyId: "many", count: 50 });
  t.deepEqual(run.order.slice(0, 10), [...times(4, "few"), ...times(4, "many"), "few", "many"]);
});

test("three keys at once beside one that holds all: each catches up a full set, in turns", async (t) => {
  const run = new Run();
  const keys = ["a", "b", "c"].map((keyId) => ({ keyId, count: 6 }));
  await run.send({ keyId: "many", count: 50 }, ...keys);
  const round = ["a", "b", "c"];
  const expected = [...times(4, "many"), ...times(4, round).flat(), "many", ...round, "many", ...round, "many", "many"];
  t.deepEqual(run.order.slice(0, expected.length), expected);
});

test("coming again and again brings nothing: four at a time get every second set of places", async (t) => {
  const run = new Run();
  const again = Array.from({ length: 5 }, (_, i) => ({ keyId: "again", count: 4, atMs: 1000 * i }));
  await run.send({ keyId: "many", count: 50 }, ...again);
  const both = [...times(4, "many"), ...times(4, "again")];
  t.deepEqual(run.order.slice(0, 8), both);
  for (let end = 8; end <= 40; end++) {
    const turns = run.order.slice(0, end);
    t.true(turns.filter((keyId) => keyId === "again").length <= end / 2 + 1, turns.join());
  }
});
