// The bottleneck limiters in memory. What they do with Redis is in redis.test.ts.
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { Quota } from "../../src/admission/quota.ts";
import { BottleneckStore, type Claim, type QuotaStore, type Verdict } from "../../src/admission/quota-store.ts";
import type { Hold } from "../../src/admission/sliding-window.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { caller, limits, refusedBy } from "../helpers/admission.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { FakeClock } from "../helpers/fake-clock.ts";

function setUp(t: ExecutionContext) {
  const clock = new FakeClock();
  const store = new BottleneckStore({ log: silentLog(), clock });
  t.teardown(() => store.close());
  return { clock, store };
}

const claim = (weight: number, limit: number, kind: Claim["kind"] = "tokens"): Claim => ({
  kind,
  keyId: "key",
  weight,
  limits: limits(limit, limit, limit),
});

function held(verdict: Verdict | "alone"): { hold: Hold } {
  if (verdict === "alone" || !verdict.hold) throw new Error(`expected units, got ${JSON.stringify(verdict)}`);
  return { hold: verdict.hold };
}

const refused = {};

test("the limiter takes what fits and refuses what does not", async (t) => {
  const { store } = setUp(t);
  held(await store.take(claim(6, 10)));
  t.deepEqual(await store.take(claim(5, 10)), refused);
  held(await store.take(claim(4, 10)));
  t.deepEqual(await store.take(claim(1, 10)), refused);
  held(await store.take(claim(1, 10, "requests")));
});

test("units come back when released, once, and after a minute by themselves", async (t) => {
  const { clock, store } = setUp(t);
  const { hold } = held(await store.take(claim(10, 10)));
  hold.release();
  hold.release();
  held(await store.take(claim(10, 10)));
  t.deepEqual(await store.take(claim(1, 10)), refused);
  clock.advance(59_999);
  t.deepEqual(await store.take(claim(1, 10)), refused);
  clock.advance(1);
  held(await store.take(claim(10, 10)));
});

test("concurrency is held until it is released, however long that takes", async (t) => {
  const { clock, store } = setUp(t);
  const { hold } = held(await store.take(claim(1, 1, "concurrency")));
  for (let minute = 0; minute < 5; minute++) {
    clock.advance(61_000);
    t.deepEqual(await store.take(claim(1, 1, "concurrency")), refused);
  }
  hold.release();
  held(await store.take(claim(1, 1, "concurrency")));
});

test("a smaller weight leaves room for others at once, and still ends with its minute", async (t) => {
  const { clock, store } = setUp(t);
  const { hold } = held(await store.take(claim(10, 10)));
  clock.advance(30_000);
  hold.resize(3);
  const other = held(await store.take(claim(7, 10)));
  t.deepEqual(await store.take(claim(1, 10)), refused);
  other.hold.release();
  clock.advance(30_000);
  held(await store.take(claim(10, 10)));
});

test("a hold that is released while it changes its weight leaves nothing behind", async (t) => {
  const { store } = setUp(t);
  const { hold } = held(await store.take(claim(10, 10)));
  hold.resize(3);
  hold.release();
  held(await store.take(claim(10, 10)));
  t.pass();
});

test("more than the limit has no room, and is no fault of the store", async (t) => {
  const { log, lines } = capturedLog();
  const store = new BottleneckStore({ log, clock: new FakeClock() });
  t.teardown(() => store.close());
  t.deepEqual(await store.take(claim(11, 10)), refused);
  held(await store.take(claim(10, 10)));
  t.deepEqual(lines(), []);
});

test("a key_id may be what every object has: it has its limiter, too", async (t) => {
  const { store } = setUp(t);
  for (const keyId of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
    held(await store.take({ ...claim(1, 1), keyId }));
    t.deepEqual(await store.take({ ...claim(1, 1), keyId }), refused, keyId);
  }
});

test("each claim is judged by its own limit against all that is held", async (t) => {
  const { store } = setUp(t);
  held(await store.take(claim(3, 10)));
  t.deepEqual(await store.take(claim(1, 3)), refused);
  held(await store.take(claim(1, 4)));
  held(await store.take(claim(6, 10)));
});

test("an answer takes no timer: many are given before the next one fires", async (t) => {
  const { store } = setUp(t);
  held(await store.take(claim(1, 1000)));
  let fired = false;
  const timer = setTimeout(() => (fired = true), 1);
  const began = process.hrtime.bigint();
  while (process.hrtime.bigint() - began < 2_000_000n); // The timer is due now.
  for (let i = 0; i < 50; i++) held(await store.take(claim(1, 1000)));
  t.false(fired);
  clearTimeout(timer);
});

test("a quota so large that it means none takes no jobs", async (t) => {
  const { store } = setUp(t);
  const large = { ...claim(1, 1), kind: "requests", limits: limits(1_000_000, 5, 1) } as const;
  t.is(await store.take(large), "alone");
  t.is(await store.take({ ...large, kind: "tokens" }), "alone");
  t.is(typeof (await store.take({ ...large, limits: limits(10_000) })), "object");
});

test.serial("a clock that is set back refuses nothing", async (t) => {
  const { store } = setUp(t);
  held(await store.take(claim(1, 10)));
  const real = Date.now;
  t.teardown(() => {
    Date.now = real;
  });
  Date.now = () => real() - 1_800_000;
  held(await store.take(claim(1, 10)));
  t.pass();
});

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("arrive" as const), tokens: fc.integer({ min: 1, max: 40 }), key: fc.nat(2) }),
    fc.record({
      do: fc.constantFrom("settle" as const, "giveBack" as const, "end" as const),
      which: fc.nat(),
      tokens: fc.nat(60),
    }),
    fc.record({ do: fc.constant("wait" as const), ms: fc.oneof(fc.nat(2000), fc.nat(70_000)) }),
  ),
  { minLength: 30, maxLength: 60 },
);

type Step = typeof steps extends fc.Arbitrary<(infer S)[]> ? S : never;

/** Runs the steps on one quota. @returns of every arrival, in order, whether it was refused */
async function play(quota: Quota, all: readonly Step[], clock: FakeClock): Promise<boolean[]> {
  // Two keys of one id with limits of their own, and a stranger.
  const callers = [caller(limits(6, 100, 4)), caller(limits(9, 150, 6)), caller(limits(6, 100, 4), "stranger")];
  const open: Awaited<ReturnType<typeof quota.admit>>[] = [];
  const refusals: boolean[] = [];
  for (const step of all) {
    if (step.do === "wait") clock.advance(step.ms);
    else if (step.do === "arrive") {
      const arrival = (async () => {
        const admission = await quota.admit(callers[step.key]!);
        open.push(admission);
        await admission.reserveTokens({ promptTokens: 1, answers: 1, maxTokens: step.tokens });
      })();
      refusals.push((await refusedBy(arrival)) !== undefined);
    } else {
      const admission = open[step.which % open.length];
      if (step.do === "settle") admission?.settle(step.tokens);
      if (step.do === "giveBack") admission?.giveBack();
      if (step.do === "end") admission?.end();
    }
  }
  return refusals;
}

test("the limiter and the window agree: whom the window has room for, the limiter never refuses", async (t) => {
  const windowAlone: QuotaStore = { up: true, take: async () => "alone", close: async () => {} };
  let admitted = 0;
  const property = fc.asyncProperty(steps, async (all) => {
    const clock = new FakeClock();
    const store = new BottleneckStore({ log: silentLog(), clock });
    const judged = await play(new Quota(store, clock), all, clock);
    await store.close();
    const alone = new FakeClock();
    t.deepEqual(judged, await play(new Quota(windowAlone, alone), all, alone));
    admitted += judged.filter((refused) => !refused).length;
  });
  await fc.assert(property, { numRuns: 60 });
  t.true(admitted > 300, `${admitted} were admitted`);
});
