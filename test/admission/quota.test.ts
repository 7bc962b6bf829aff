// Quotas on a clock that the test moves and a store that does as it is told.
import test from "ava";
import { Quota } from "../../src/admission/quota.ts";
import { tokensToReserve } from "../../src/admission/reservation.ts";
import { CountingStore, caller, limits, refusedBy, settle } from "../helpers/admission.ts";
import { FakeClock } from "../helpers/fake-clock.ts";

function setUp() {
  const clock = new FakeClock();
  const store = new CountingStore();
  return { clock, store, quota: new Quota(store, clock) };
}

const demand = (promptTokens: number, maxTokens?: number, answers = 1) => ({ promptTokens, maxTokens, answers });

test("at most RPM requests pass in any minute, across its boundary, too", async (t) => {
  const { clock, quota } = setUp();
  const me = caller(limits(3));
  await quota.admit(me);
  clock.advance(59_000);
  await quota.admit(me);
  await quota.admit(me);
  t.is((await refusedBy(quota.admit(me)))?.code, "rate_limit_exceeded");
  clock.advance(1000);
  await quota.admit(me);
  t.is((await refusedBy(quota.admit(me)))?.code, "rate_limit_exceeded");
});

test("Retry-After is honest: a retry then passes, one just before does not", async (t) => {
  const { clock, quota } = setUp();
  const me = caller(limits(1));
  await quota.admit(me);
  clock.advance(17_500.5);
  const refused = await refusedBy(quota.admit(me));
  t.deepEqual(refused?.headers, { "Retry-After": "43", "retry-after-ms": "42500" });
  t.regex(refused?.message ?? "", /1 requests per minute, try again in 43s\.$/);
  clock.advance(42_499);
  t.is((await refusedBy(quota.admit(me)))?.code, "rate_limit_exceeded");
  clock.advance(1);
  await quota.admit(me);
});

test("a refusal leaves no trace", async (t) => {
  const { clock, store, quota } = setUp();
  const me = caller(limits(2, 100, 5));
  await quota.admit(me);
  clock.advance(30_000);
  const second = await quota.admit(me);
  await second.reserveTokens(demand(90, 10));
  for (let i = 0; i < 10; i++) await refusedBy(quota.admit(me));
  clock.advance(30_000);
  const third = await quota.admit(me);
  const before = quota.headers(me);
  t.is((await refusedBy(third.reserveTokens(demand(50, 10))))?.code, "rate_limit_exceeded");
  third.end();
  t.is(before["x-ratelimit-remaining-requests"], "0");
  t.is(quota.headers(me)["x-ratelimit-remaining-requests"], "1");
  t.is(store.sum("requests"), 1);
  t.is(store.sum("tokens"), 100);
});

test("headers tell limit, rest, and when all of it is free again", async (t) => {
  const { clock, quota } = setUp();
  const me = caller(limits(10, 5000));
  t.deepEqual(quota.headers(me), {
    "x-ratelimit-limit-requests": "10",
    "x-ratelimit-remaining-requests": "10",
    "x-ratelimit-reset-requests": "0s",
    "x-ratelimit-limit-tokens": "5000",
    "x-ratelimit-remaining-tokens": "5000",
    "x-ratelimit-reset-tokens": "0s",
  });
  await quota.admit(me);
  clock.advance(1500);
  await (await quota.admit(me)).reserveTokens(demand(300, 700));
  clock.advance(500);
  t.like(quota.headers(me), {
    "x-ratelimit-remaining-requests": "8",
    "x-ratelimit-reset-requests": "59.5s",
    "x-ratelimit-remaining-tokens": "4000",
    "x-ratelimit-reset-tokens": "59.5s",
  });
});

test("without a token quota there is no token triple, without quotas no header and no limit", async (t) => {
  const { quota } = setUp();
  t.deepEqual(Object.keys(quota.headers(caller(limits(10)))), [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
  ]);
  t.deepEqual(quota.headers(caller(null)), {});
  for (let i = 0; i < 1000; i++) {
    const admission = await quota.admit(caller(null));
    await admission.reserveTokens(demand(1_000_000));
  }
});

test("a reservation is prompt and answers, an answer at most 1024, all at most the quota", (t) => {
  t.is(tokensToReserve(demand(10, 5), 10_000), 15);
  t.is(tokensToReserve(demand(10, 4000), 10_000), 1034);
  t.is(tokensToReserve(demand(10), 10_000), 1034);
  t.is(tokensToReserve(demand(10, 100, 3), 10_000), 310);
  t.is(tokensToReserve(demand(10, 100, 3), 200), 200);
});

test("tokens are reserved, and corrected to what was used at the end", async (t) => {
  const { clock, store, quota } = setUp();
  const me = caller(limits(100, 1000));
  const admission = await quota.admit(me);
  await admission.reserveTokens(demand(100, 800));
  t.is(store.sum("tokens"), 900);
  clock.advance(10_000);
  admission.settle(150);
  t.is(store.sum("tokens"), 150);
  t.is(quota.headers(me)["x-ratelimit-remaining-tokens"], "850");
  // Stamped at its admission, not at its end.
  t.is(quota.headers(me)["x-ratelimit-reset-tokens"], "50s");
  admission.settle(0);
  t.is(store.sum("tokens"), 150);
});

test("an excess is entered at its moment; what has no room is owed and goes before anything new", async (t) => {
  const { clock, store, quota } = setUp();
  const me = caller(limits(100, 2000));
  const admission = await quota.admit(me);
  await admission.reserveTokens(demand(100));
  clock.advance(10_000);
  admission.settle(3124);
  await settle();
  t.is(store.sum("tokens"), 2000);
  t.is(quota.headers(me)["x-ratelimit-remaining-tokens"], "0");
  const next = await quota.admit(me);
  const refused = await refusedBy(next.reserveTokens(demand(10, 10)));
  // 1124 reserved leave at 60 s, 876 of the excess at 70 s; the debt of 1124 takes the first of that room, and 876 stay.
  t.is(refused?.headers["retry-after-ms"], "60000");
  clock.advance(60_000);
  const again = await quota.admit(me);
  await again.reserveTokens(demand(10, 10));
  t.is(store.sum("tokens"), 1144);
});

test("after a cancel what was computed stays, the rest is refunded", async (t) => {
  const { store, quota } = setUp();
  const me = caller(limits(100, 1000));
  const admission = await quota.admit(me);
  await admission.reserveTokens(demand(100, 500));
  admission.settle(37);
  admission.end();
  t.is(store.sum("tokens"), 37);
  t.is(store.sum("requests"), 1);
});

test("who was never let run gets everything back, the request unit, too", async (t) => {
  const { store, quota } = setUp();
  const me = caller(limits(100, 1000, 1));
  const admission = await quota.admit(me);
  await admission.reserveTokens(demand(100, 500));
  admission.giveBack();
  admission.end();
  admission.end();
  t.deepEqual([store.sum("requests"), store.sum("tokens"), store.sum("concurrency")], [0, 0, 0]);
  t.is(quota.headers(me)["x-ratelimit-remaining-requests"], "100");
  t.is(quota.headers(me)["x-ratelimit-remaining-tokens"], "1000");
});

test("a prompt beyond the quota is refused for good, and costs its request unit", async (t) => {
  const { store, quota } = setUp();
  const admission = await quota.admit(caller(limits(100, 1000)));
  const refused = await refusedBy(admission.reserveTokens(demand(1001, 1)));
  t.is(refused?.status, 400);
  t.is(refused?.code, "request_exceeds_token_quota");
  t.is(store.sum("requests"), 1);
});

test("concurrency counts calls that are open, and tells the median duration", async (t) => {
  const { clock, quota } = setUp();
  const me = caller(limits(1000, 0, 2));
  for (const seconds of [2, 8, 4]) {
    const admission = await quota.admit(me);
    clock.advance(seconds * 1000);
    admission.end();
  }
  const first = await quota.admit(me);
  await quota.admit(me);
  const refused = await refusedBy(quota.admit(me));
  t.is(refused?.code, "concurrency_limit_exceeded");
  t.regex(refused?.message ?? "", /concurrency of 2 .*try again in 4s\.$/);
  t.deepEqual(refused?.headers, { "Retry-After": "4", "retry-after-ms": "4000" });
  t.is(quota.headers(me)["x-ratelimit-remaining-requests"], "995");
  first.end();
  first.end();
  await quota.admit(me);
  t.is((await refusedBy(quota.admit(me)))?.code, "concurrency_limit_exceeded");
});

test("two keys of one id share the count, each is judged by its own limits", async (t) => {
  const { quota } = setUp();
  const [small, big] = [caller(limits(2)), caller(limits(5))];
  await quota.admit(small);
  await quota.admit(big);
  t.is((await refusedBy(quota.admit(small)))?.code, "rate_limit_exceeded");
  for (let i = 0; i < 3; i++) await quota.admit(big);
  t.is((await refusedBy(quota.admit(big)))?.code, "rate_limit_exceeded");
  t.is(quota.headers(big)["x-ratelimit-remaining-requests"], "0");
  await quota.admit(caller(limits(2), "another"));
});

test("a key's new limits judge what was counted before", async (t) => {
  const { quota } = setUp();
  await quota.admit(caller(limits(5)));
  await quota.admit(caller(limits(5)));
  t.is((await refusedBy(quota.admit(caller(limits(2)))))?.code, "rate_limit_exceeded");
  await quota.admit(caller(limits(3)));
});

test("refused by what other replicas hold: by one's own entries, a minute without any", async (t) => {
  const { clock, store, quota } = setUp();
  const me = caller(limits(10));
  store.answer = "refused";
  t.is((await refusedBy(quota.admit(me)))?.headers["retry-after-ms"], "60000");
  store.answer = undefined;
  await quota.admit(me);
  clock.advance(20_000);
  store.answer = "refused";
  t.is((await refusedBy(quota.admit(me)))?.headers["retry-after-ms"], "40000");
  t.is(quota.headers(me)["x-ratelimit-remaining-requests"], "9");
});

test("headers count what others hold, until that is a minute ago", async (t) => {
  const { clock, store, quota } = setUp();
  const me = caller(limits(10));
  store.others = 4;
  const left = () => quota.headers(me)["x-ratelimit-remaining-requests"];
  await quota.admit(me);
  t.is(left(), "5");
  // Who is refused for what others hold sees nothing left.
  [store.answer, store.others] = ["refused", 9];
  await refusedBy(quota.admit(me));
  t.is(left(), "0");
  clock.advance(60_000);
  t.is(left(), "10");
});

test("while the store cannot be asked, others do not count", async (t) => {
  const { store, quota } = setUp();
  const me = caller(limits(10));
  store.others = 4;
  await quota.admit(me);
  store.up = false;
  t.is(quota.headers(me)["x-ratelimit-remaining-requests"], "9");
});

test("while the store cannot be asked, this process counts alone and refuses nothing else", async (t) => {
  const { store, quota } = setUp();
  const me = caller(limits(2, 100, 2));
  store.answer = "alone";
  store.up = false;
  t.false(quota.storeUp);
  const first = await quota.admit(me);
  await first.reserveTokens(demand(50, 50));
  await quota.admit(me);
  t.is((await refusedBy(quota.admit(me)))?.code, "rate_limit_exceeded");
  first.settle(10);
  first.end();
});

test("an excess that the store has no room for goes before the next request", async (t) => {
  const { store, quota } = setUp();
  const me = caller(limits(10, 2000));
  const admission = await quota.admit(me);
  await admission.reserveTokens(demand(10, 10));
  store.answer = "refused";
  admission.settle(100);
  await settle();
  t.is(store.sum("tokens"), 20);
  store.answer = undefined;
  const next = await quota.admit(me);
  await next.reserveTokens(demand(10, 10));
  t.is(store.sum("tokens"), 120);
});

test("remainders tell what every key that called has left", async (t) => {
  const { quota } = setUp();
  await quota.admit(caller(limits(5), "a"));
  await quota.admit(caller(limits(7, 50), "b"));
  t.deepEqual(quota.remainders(), [
    { keyId: "a", kind: "requests", remaining: 4 },
    { keyId: "b", kind: "requests", remaining: 6 },
    { keyId: "b", kind: "tokens", remaining: 50 },
  ]);
});
