// Quotas that replicas share through a real Redis, and what happens when it goes and comes back.
import test, { type ExecutionContext } from "ava";
import { Quota } from "../../src/admission/quota.ts";
import { BottleneckStore } from "../../src/admission/quota-store.ts";
import { connectRedis } from "../../src/admission/redis.ts";
import { ConfigError } from "../../src/config/error.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { caller, limits, refusedBy, settle } from "../helpers/admission.ts";
import { type CapturedLog, capturedLog } from "../helpers/captured-log.ts";
import { FakeClock } from "../helpers/fake-clock.ts";
import { until } from "../helpers/process.ts";
import { hasRedisServer, noRedisServer, startRedis } from "../helpers/redis-server.ts";
import { testIf } from "../helpers/skip.ts";

type Replica = { readonly quota: Quota; readonly store: BottleneckStore; readonly clock: FakeClock };

/** A busy machine must not look like a Redis that is away. */
const patientMs = 60_000;

/** One server's quotas. Its windows move with `clock`; connections live in real time. */
async function startReplica(
  t: ExecutionContext,
  url: string,
  log: CapturedLog = capturedLog(),
  commandTimeout = patientMs,
): Promise<Replica> {
  const redis = await connectRedis(url, log.log, () => import("ioredis"), commandTimeout);
  const clock = new FakeClock();
  const store = new BottleneckStore({ redis, log: log.log, clock });
  t.teardown(() => store.close());
  return { quota: new Quota(store, clock), store, clock };
}

async function startTwo(t: ExecutionContext): Promise<[Replica, Replica]> {
  const { url } = await startRedis(t);
  const two: [Replica, Replica] = [await startReplica(t, url), await startReplica(t, url)];
  await until(() => two.every(({ store }) => store.up));
  return two;
}

/** How many of these were let in. */
async function countAdmitted(arrivals: readonly Promise<unknown>[]): Promise<number> {
  const refusals = await Promise.all(arrivals.map(refusedBy));
  return refusals.filter((refusal) => refusal === undefined).length;
}

const testWithRedis = (title: string, run: (t: ExecutionContext) => Promise<void>) =>
  testIf(hasRedisServer, noRedisServer, title, run);

testWithRedis("two replicas have one quota of requests, also when both are asked at once", async (t) => {
  const [a, b] = await startTwo(t);
  const me = caller(limits(20));
  const arrivals = Array.from({ length: 60 }, (_, i) => (i % 2 ? a : b).quota.admit(me));
  t.is(await countAdmitted(arrivals), 20);
  t.is(a.quota.headers(me)["x-ratelimit-limit-requests"], "20");
});

testWithRedis("headers count what the other replica let in", async (t) => {
  const [a, b] = await startTwo(t);
  const me = caller(limits(10, 5000));
  for (let i = 0; i < 3; i++) await a.quota.admit(me);
  const admission = await b.quota.admit(me);
  t.is(b.quota.headers(me)["x-ratelimit-remaining-requests"], "6");
  await admission.reserveTokens({ promptTokens: 100, answers: 1, maxTokens: 900 });
  const other = await a.quota.admit(me);
  await other.reserveTokens({ promptTokens: 100, answers: 1, maxTokens: 100 });
  t.is(a.quota.headers(me)["x-ratelimit-remaining-tokens"], "3800");
});

testWithRedis("tokens reserved here are missing there, and come back when they were not used", async (t) => {
  const [a, b] = await startTwo(t);
  const me = caller(limits(100, 1000));
  const first = await a.quota.admit(me);
  await first.reserveTokens({ promptTokens: 500, answers: 1, maxTokens: 500 });
  const second = await b.quota.admit(me);
  const refused = await refusedBy(second.reserveTokens({ promptTokens: 10, answers: 1, maxTokens: 10 }));
  t.is(refused?.headers["retry-after-ms"], "60000");
  first.settle(300);
  const third = await b.quota.admit(me);
  const fits = () => third.reserveTokens({ promptTokens: 10, answers: 1, maxTokens: 690 });
  await until(async () => (await refusedBy(fits())) === undefined);
  const fourth = await a.quota.admit(me);
  t.is((await refusedBy(fourth.reserveTokens({ promptTokens: 1, answers: 1, maxTokens: 1 })))?.status, 429);
});

testWithRedis("two replicas have one concurrency; the end of a call frees it everywhere", async (t) => {
  const [a, b] = await startTwo(t);
  const me = caller(limits(100, 0, 2));
  const first = await a.quota.admit(me);
  await b.quota.admit(me);
  t.is((await refusedBy(b.quota.admit(me)))?.code, "concurrency_limit_exceeded");
  first.end();
  await until(async () => (await refusedBy(b.quota.admit(me))) === undefined);
  t.is((await refusedBy(a.quota.admit(me)))?.code, "concurrency_limit_exceeded");
});

testWithRedis("a refusal by the shared count leaves no trace there", async (t) => {
  const [a, b] = await startTwo(t);
  const me = caller(limits(100, 0, 1));
  const first = await a.quota.admit(me);
  for (let i = 0; i < 5; i++) await refusedBy(b.quota.admit(me));
  first.end();
  await until(async () => (await refusedBy(b.quota.admit(me))) === undefined);
  t.is(b.quota.headers(me)["x-ratelimit-remaining-requests"], "98");
});

testWithRedis("each key is judged by its own limit, whatever limits the other replica has set", async (t) => {
  const [a, b] = await startTwo(t);
  for (let i = 0; i < 3; i++) await a.quota.admit(caller(limits(3)));
  t.is((await refusedBy(b.quota.admit(caller(limits(3)))))?.status, 429);
  for (let i = 0; i < 2; i++) await b.quota.admit(caller(limits(5)));
  t.is((await refusedBy(b.quota.admit(caller(limits(5)))))?.status, 429);
  t.is((await refusedBy(a.quota.admit(caller(limits(4)))))?.status, 429);
  await a.quota.admit(caller(limits(6)));
});

testWithRedis("Retry-After is by the replica's own entries, and is kept", async (t) => {
  const [a, b] = await startTwo(t);
  const me = caller(limits(2));
  await a.quota.admit(me);
  a.clock.advance(20_000);
  await b.quota.admit(me);
  t.is((await refusedBy(a.quota.admit(me)))?.headers["retry-after-ms"], "40000");
  a.clock.advance(40_000);
  await a.quota.admit(me);
});

testWithRedis("without Redis at the start each replica counts alone; later they share", async (t) => {
  const redis = await startRedis(t, false);
  const log = capturedLog();
  const { quota, store } = await startReplica(t, redis.url, log);
  const me = caller(limits(2, 1000, 5));
  await quota.admit(me);
  await (await quota.admit(me)).reserveTokens({ promptTokens: 5, answers: 1, maxTokens: 5 });
  t.is((await refusedBy(quota.admit(me)))?.status, 429);
  await until(() => log.text().includes("counts quotas alone"));
  t.false(store.up);
  await redis.start();
  await until(() => store.up);
  const levels = log.lines().map(({ level, msg }) => `${level}: ${msg}`);
  t.deepEqual(levels, [
    "error: Redis (REDIS_URL) is away: this server counts quotas alone",
    "info: Redis is back: quotas are shared again",
  ]);
});

testWithRedis("Redis goes and comes back: no request is refused for it, one error line per outage", async (t) => {
  const redis = await startRedis(t);
  const log = capturedLog();
  const { quota, store } = await startReplica(t, redis.url, log);
  const other = await startReplica(t, redis.url);
  await until(() => store.up && other.store.up);
  const me = caller(limits(20, 10_000, 10));
  const use = async (of: Quota) => {
    const admission = await of.admit(me);
    await admission.reserveTokens({ promptTokens: 5, answers: 1, maxTokens: 5 });
    admission.settle(7);
    admission.end();
  };
  await use(quota);
  for (let outage = 1; outage <= 2; outage++) {
    await redis.stop();
    for (let i = 0; i < 4; i++) await use(quota);
    await until(() => !store.up);
    await redis.start();
    await until(() => store.up && other.store.up);
    await use(quota);
  }
  t.is(log.lines().filter(({ level }) => level === "error").length, 2, log.text());
  // Shared again: what this replica lets in now is missing at the other.
  const left = Number(other.quota.headers(me)["x-ratelimit-remaining-requests"]);
  await use(quota);
  await use(other.quota);
  t.true(Number(other.quota.headers(me)["x-ratelimit-remaining-requests"]) < left - 1);
});

testWithRedis("a Redis that answers no more holds a request up for less than a second", async (t) => {
  const redis = await startRedis(t);
  const { quota, store } = await startReplica(t, redis.url, capturedLog(), 500);
  await until(() => store.up);
  const me = caller(limits(100, 0, 10));
  await quota.admit(me);
  redis.freeze();
  const began = performance.now();
  await quota.admit(me);
  t.true(performance.now() - began < 5000, "the deadline is half a second; the rest is this machine's");
  t.false(store.up);
  await quota.admit(me);
  redis.thaw();
  await until(() => store.up);
  await quota.admit(me);
});

testWithRedis("a password never reaches the log", async (t) => {
  const redis = await startRedis(t, false);
  await redis.start("--requirepass", "another-secret");
  const log = capturedLog();
  const { store } = await startReplica(t, redis.url.replace("//", "//:planted-secret@"), log);
  await until(() => log.text().includes("counts quotas alone"));
  t.regex(log.text(), /WRONGPASS/);
  t.false(log.text().includes("planted-secret"));
  t.false(store.up);
});

test("REDIS_URL without the optional package is a configuration error", async (t) => {
  const missing = async () => {
    throw Object.assign(new Error("Cannot find package 'ioredis'"), { code: "ERR_MODULE_NOT_FOUND" });
  };
  const error = await t.throwsAsync(connectRedis("redis://127.0.0.1:1", silentLog(), missing), {
    instanceOf: ConfigError,
  });
  t.regex(error?.message ?? "", /REDIS_URL: .*ioredis/);
  await settle();
});
