// The queue on a clock that the test moves.
import { setMaxListeners } from "node:events";
import test from "ava";
import { Gate, type GateOptions } from "../../src/admission/gate.ts";
import { Failure } from "../../src/errors.ts";
import { refusedBy, settle } from "../helpers/admission.ts";
import { FakeClock } from "../helpers/fake-clock.ts";

const unlimited = { maxQueueSize: 0, maxQueuedTokens: 0, queueTimeout: 120 };

function setUp(places: number, config: Partial<GateOptions["config"]> = {}) {
  const clock = new FakeClock();
  const counts: [active: number, waiting: number] = [0, 0];
  const onChange = (...now: [number, number]) => counts.splice(0, 2, ...now);
  const gate = new Gate({ config: { ...unlimited, ...config }, places: () => places, clock, onChange });
  return { clock, gate, counts };
}

const never = new AbortController().signal;
setMaxListeners(0, never);
const arrival = (keyId = "key", promptTokens = 1, signal = never) => ({ keyId, promptTokens, signal });

test("a free place is given at once, then they wait, first come first served", async (t) => {
  const { gate, counts } = setUp(2);
  const [a] = [await gate.enter(arrival()), await gate.enter(arrival())];
  t.deepEqual([gate.active, gate.waiting], [2, 0]);
  const order: number[] = [];
  const waiting = [1, 2, 3].map((n) => gate.enter(arrival()).then((place) => [order.push(n), place] as const));
  t.deepEqual(counts, [2, 3]);
  a.release();
  const [, next] = await waiting[0]!;
  t.deepEqual(order, [1]);
  next.release();
  await waiting[1];
  t.deepEqual(order, [1, 2]);
  t.deepEqual(counts, [2, 1]);
});

test("a full queue refuses and says when to come back", async (t) => {
  const { gate, clock } = setUp(1, { maxQueueSize: 2 });
  const place = await gate.enter(arrival());
  const waiting = [gate.enter(arrival()), gate.enter(arrival())];
  const refused = await refusedBy(gate.enter(arrival()));
  t.like(refused, { status: 503, code: "queue_full", headers: { "Retry-After": "5" } });
  t.regex(refused?.message ?? "", /try again in 5s\.$/);
  // One request ended in 4 seconds: the two that wait will need 8.
  clock.advance(4000);
  place.release();
  await waiting[0];
  gate.enter(arrival()).catch(() => {});
  t.is((await refusedBy(gate.enter(arrival())))?.headers["Retry-After"], "8");
  t.is(gate.waiting, 2);
});

test("MAX_QUEUE_SIZE=0 sets no bound", async (t) => {
  const { gate } = setUp(1);
  await gate.enter(arrival());
  for (let i = 0; i < 2000; i++) void gate.enter(arrival());
  t.is(gate.waiting, 2000);
});

test("waiting prompt tokens are bounded, but a big prompt gets into an empty queue", async (t) => {
  const { gate } = setUp(1, { maxQueuedTokens: 100 });
  await gate.enter(arrival("key", 5000));
  const leaves = new AbortController();
  const big = gate.enter(arrival("key", 5000, leaves.signal));
  const refused = await refusedBy(gate.enter(arrival("key", 1)));
  t.like(refused, { status: 503, code: "queue_full" });
  leaves.abort(new Error("left"));
  await t.throwsAsync(big, { message: "left" });
  void gate.enter(arrival("key", 60));
  void gate.enter(arrival("key", 40));
  t.is((await refusedBy(gate.enter(arrival("key", 1))))?.code, "queue_full");
});

test("QUEUE_TIMEOUT ends a wait; nothing of it stays behind", async (t) => {
  const { gate, clock } = setUp(1, { queueTimeout: 10 });
  const place = await gate.enter(arrival());
  const late = gate.enter(arrival());
  clock.advance(9999);
  t.is(gate.waiting, 1);
  const refused = refusedBy(late);
  clock.advance(1);
  t.like(await refused, { status: 503, code: "queue_timeout", headers: { "Retry-After": "5" } });
  t.deepEqual([gate.waiting, clock.pending], [0, 0]);
  const next = gate.enter(arrival());
  place.release();
  await next;
  t.is(clock.pending, 0);
});

test("a client that leaves while it waits is gone at once; the one behind moves up", async (t) => {
  const { gate, clock } = setUp(1);
  const place = await gate.enter(arrival());
  const leaves = new AbortController();
  const gone = gate.enter(arrival("key", 1, leaves.signal));
  const behind = gate.enter(arrival());
  leaves.abort(new Error("left"));
  t.is(gate.waiting, 1);
  await t.throwsAsync(gone, { message: "left" });
  place.release();
  await behind;
  t.deepEqual([gate.active, clock.pending], [1, 0]);
  await t.throwsAsync(gate.enter(arrival("key", 1, leaves.signal)), { message: "left" });
});

test("a place is returned once, however often its holder says so", async (t) => {
  const { gate } = setUp(1);
  const place = await gate.enter(arrival());
  place.release();
  place.release();
  const [one, two] = [gate.enter(arrival()), gate.enter(arrival())];
  await one;
  t.deepEqual([gate.active, gate.waiting], [1, 1]);
  (await one).release();
  await two;
});

test("a request with several answers leaves the queue with its first place and takes more as they come free", async (t) => {
  const { gate, counts } = setUp(2);
  const first = await gate.enter(arrival("a"));
  const other = await gate.enter(arrival("b"));
  const more = [first.another(never), first.another(never)];
  const waiting = gate.enter(arrival("b"));
  t.deepEqual(counts, [2, 1]);
  other.release();
  const second = await more[0]!;
  t.deepEqual(counts, [1, 1]);
  second.release();
  // Turn by turn: now it is b's.
  await waiting;
  t.deepEqual(counts, [2, 0]);
  first.release();
  (await more[1]!).release();
  t.deepEqual(counts, [1, 0]);
});

test("a key's running request gets what it lacks before the key's next request", async (t) => {
  const { gate } = setUp(1);
  const first = await gate.enter(arrival());
  const order: string[] = [];
  const next = gate.enter(arrival()).then((place) => [order.push("next"), place] as const);
  const more = first.another(never).then((place) => [order.push("more"), place] as const);
  first.release();
  (await more)[1].release();
  await next;
  t.deepEqual(order, ["more", "next"]);
});

test("further answers are not bound by the valves, nor by QUEUE_TIMEOUT, and end with their signal", async (t) => {
  const { gate, clock } = setUp(1, { maxQueueSize: 1, maxQueuedTokens: 1, queueTimeout: 1 });
  const first = await gate.enter(arrival());
  const leaves = new AbortController();
  const more = [first.another(leaves.signal), first.another(leaves.signal), first.another(leaves.signal)];
  t.is(gate.waiting, 0);
  clock.advance(5000);
  leaves.abort(new Error("left"));
  for (const place of more) await t.throwsAsync(place, { message: "left" });
  await t.throwsAsync(first.another(leaves.signal), { message: "left" });
  first.release();
  t.deepEqual([gate.active, gate.waiting, clock.pending], [0, 0, 0]);
});

test("closing refuses who waits and who would have to, and lets the others finish", async (t) => {
  const { gate, clock } = setUp(1);
  const first = await gate.enter(arrival());
  const more = first.another(never);
  const waiting = gate.enter(arrival());
  gate.close(() => new Failure("draining", "The server is shutting down, try again in 1s."));
  t.is((await refusedBy(waiting))?.code, "draining");
  t.is((await refusedBy(gate.enter(arrival())))?.code, "draining");
  first.release();
  (await more).release();
  t.deepEqual([gate.active, gate.waiting, clock.pending], [0, 0, 0]);
});

test("without an engine there is no place; the bounds hold then, too", async (t) => {
  const { gate } = setUp(0, { maxQueueSize: 1 });
  void gate.enter(arrival());
  t.is((await refusedBy(gate.enter(arrival())))?.code, "queue_full");
});

test("Retry-After of a full queue stays between 1 and 600", async (t) => {
  const { gate, clock } = setUp(1, { maxQueueSize: 1 });
  let place = await gate.enter(arrival());
  clock.advance(59_000);
  for (let i = 0; i < 200; i++) {
    place.release();
    place = await gate.enter(arrival());
  }
  void gate.enter(arrival());
  t.is((await refusedBy(gate.enter(arrival())))?.headers["Retry-After"], "1");
  const slow = setUp(1, { maxQueueSize: 1000 });
  const one = await slow.gate.enter(arrival());
  slow.clock.advance(60_000);
  one.release();
  for (let i = 0; i < 1001; i++) void slow.gate.enter(arrival());
  t.is((await refusedBy(slow.gate.enter(arrival())))?.headers["Retry-After"], "600");
});

test("1,000 clients against 4 places and a queue of 64: 932 are refused, and all others served", async (t) => {
  const { gate, clock } = setUp(4, { maxQueueSize: 64 });
  let served = 0;
  const clients = Array.from({ length: 1000 }, async (_, i) => {
    const place = await gate.enter(arrival(`key-${i % 7}`));
    await settle();
    served += 1;
    place.release();
  });
  const refusals = (await Promise.all(clients.map(refusedBy))).filter((refusal) => refusal !== undefined);
  t.is(refusals.length, 932);
  t.true(refusals.every(({ code }) => code === "queue_full"));
  t.is(served, 68);
  t.deepEqual([gate.active, gate.waiting, clock.pending], [0, 0, 0]);
});
