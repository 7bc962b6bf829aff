// The end of open calls: a drain is over in the very moment in which the last one is, or when its time is.
import test from "ava";
import { Gate } from "../src/admission/gate.ts";
import { createStateGate } from "../src/api/state-gate.ts";
import { Drain } from "../src/drain.ts";
import { Failure } from "../src/errors.ts";
import { Heartbeat } from "../src/health/heartbeat.ts";
import { refusedBy, settle } from "./helpers/admission.ts";
import { capturedLog } from "./helpers/captured-log.ts";
import { testConfig } from "./helpers/server.ts";

function setUp() {
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const { log, lines } = capturedLog();
  const config = { maxQueueSize: 0, maxQueuedTokens: 0, queueTimeout: 120 };
  const gate = new Gate({ config, places: () => 1 });
  return { heartbeat, gate, drain: new Drain({ heartbeat, gate, log }), lines };
}

/** @returns whether it is over by now; whoever waits for a timer is not */
async function isOver(work: Promise<void>): Promise<boolean> {
  let over = false;
  void work.then(() => {
    over = true;
  });
  await settle();
  return over;
}

test("without open calls it is over at once", async (t) => {
  const { drain, lines } = setUp();
  t.true(await isOver(drain.finishCalls(1000)));
  t.false(drain.cut.aborted);
  t.like(lines().at(-1), { cut: 0 });
});

test("it is over with the last call, not before and not a moment later", async (t) => {
  const { heartbeat, drain } = setUp();
  heartbeat.callOpened();
  heartbeat.callOpened();
  const draining = drain.finishCalls(1000);
  heartbeat.callClosed();
  t.false(await isOver(draining));
  heartbeat.callClosed();
  t.true(await isOver(draining));
  t.false(drain.cut.aborted);
});

test("who waits in the queue is sent away at once, who runs is not", async (t) => {
  const { heartbeat, gate, drain } = setUp();
  const { signal } = new AbortController();
  const arrival = { keyId: "key", promptTokens: 1, signal };
  heartbeat.callOpened();
  const place = await gate.enter(arrival);
  const waiting = refusedBy(gate.enter(arrival));
  const draining = drain.finishCalls(1000);
  t.like(await waiting, { code: "draining", headers: { "Retry-After": "1000" } });
  t.is(gate.active, 1);
  place.release();
  heartbeat.callClosed();
  await draining;
});

test("when its time is over the open calls are cut, and it waits for them to say so", async (t) => {
  const { heartbeat, drain, lines } = setUp();
  heartbeat.callOpened();
  drain.cut.addEventListener("abort", () => setImmediate(() => heartbeat.callClosed()));
  await drain.finishCalls(0);
  t.true(drain.cut.reason instanceof Failure && drain.cut.reason.kind === "draining");
  t.is(heartbeat.openCalls, 0);
  t.like(lines().at(-1), { level: "warn", cut: 1 });
});

test("Retry-After counts from the moment when the drain began, also for the first call that it refuses", async (t) => {
  const heartbeat = new Heartbeat();
  heartbeat.state = "draining";
  let afterMs = 12_000;
  const pass = createStateGate(
    { heartbeat, config: testConfig({ DRAIN_TIMEOUT: "30" }) },
    () => heartbeat.stateSinceMs + afterMs,
  );
  const refusal = () => refusedBy(Promise.resolve().then(pass));
  t.is((await refusal())?.headers["Retry-After"], "18");
  afterMs = 29_500;
  t.is((await refusal())?.headers["Retry-After"], "1");
  afterMs = 60_000;
  t.is((await refusal())?.headers["Retry-After"], "1");
});

test("a state has its moment: it is kept when the same state is set again", (t) => {
  const heartbeat = new Heartbeat();
  const since = heartbeat.stateSinceMs;
  t.true(since > 0);
  heartbeat.state = "loading";
  t.is(heartbeat.stateSinceMs, since);
  heartbeat.state = "ready";
  t.true(heartbeat.stateSinceMs > since);
  t.is(new Heartbeat(heartbeat.buffer).stateSinceMs, heartbeat.stateSinceMs, "other threads see it");
});
