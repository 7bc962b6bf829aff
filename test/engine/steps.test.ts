// Steps that begin by themselves: answers do not depend on them, and whoever comes, leaves or ends waits for no more than the running one.
import { setImmediate as tick } from "node:timers/promises";
import test from "ava";
import fc from "fast-check";
import { collect, request } from "../helpers/requests.ts";
import { endToken, prompt, setUpScheduler, stepOn } from "../helpers/scheduler.ts";

function setUp(...args: Parameters<typeof setUpScheduler>) {
  const parts = setUpScheduler(...args);
  parts.context.aheadUntil = endToken;
  return parts;
}

const placesOf = ({ entries }: { readonly entries: readonly { readonly sequence: number }[] }) => [
  ...new Set(entries.map(({ sequence }) => sequence)),
];

test("the next step runs before the one before is read, and none too many", async (t) => {
  const { scheduler, context } = setUp();
  context.manual = true;
  const answer = collect(scheduler.submit(request(prompt(3), { maxTokens: 6 })));
  await context.stepStarted();
  await stepOn(context); // the prompt
  for (let token = 2; token <= 5; token++) {
    context.finishStep();
    t.true(context.stepRunning, `after token ${token}`);
    await tick();
  }
  context.finishStep();
  t.false(context.stepRunning);
  t.is((await answer).content, "<3><4><5><6><7><8>");
  t.is(context.steps.length, 6);
  t.is(context.lengths[0], 0, "nothing is kept");
  await scheduler.dispose();
});

type Asked = { length: number; maxTokens: number; stop: boolean; pause: number };

/** What each request gets. Texts end at positions that are multiples of 17. */
async function answersOf(asked: readonly Asked[], ahead: boolean) {
  const { scheduler, context } = setUpScheduler(3);
  context.aheadUntil = ahead ? endToken : undefined;
  context.sample = (_sequence, length) => (length % 17 === 0 ? endToken : length);
  const answers: ReturnType<typeof collect>[] = [];
  for (const { length, maxTokens, stop, pause } of asked) {
    for (let i = 0; i < pause; i++) await tick();
    answers.push(collect(scheduler.submit(request(prompt(length), { maxTokens, stop: stop ? ["<13>"] : [] }))));
  }
  const results = (await Promise.all(answers)).map(({ content, finish: { reason, stopString, usage } }) => {
    return { content, reason, stopString, usage };
  });
  await scheduler.dispose();
  return results;
}

test("whatever comes and ends when, answers are those of steps one by one", async (t) => {
  const one = fc.record({
    length: fc.integer({ min: 1, max: 30 }),
    maxTokens: fc.integer({ min: 1, max: 20 }),
    stop: fc.boolean(),
    pause: fc.integer({ min: 0, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 8 }), async (asked) => {
      t.deepEqual(await answersOf(asked, true), await answersOf(asked, false));
    }),
    { numRuns: 200 },
  );
});

test("who comes while a step runs is in the next one", async (t) => {
  const { scheduler, context } = setUp();
  context.manual = true;
  const first = collect(scheduler.submit(request(prompt(2), { maxTokens: 20 })));
  await context.stepStarted();
  await stepOn(context);
  await stepOn(context);
  await tick(); // what the step before brought has been read, and the next one may begin by itself
  const second = collect(scheduler.submit(request(prompt(5), { maxTokens: 3 })));
  context.finishStep();
  t.false(context.stepRunning);
  await context.stepStarted();
  t.deepEqual(placesOf(context.steps.at(-1)!), [0, 1]);
  context.manual = false;
  context.finishStep();
  t.deepEqual(
    (await Promise.all([first, second])).map(({ finish }) => finish.usage.completionTokens),
    [20, 3],
  );
  await scheduler.dispose();
});

test("who leaves while a step runs is not in the next one", async (t) => {
  const { scheduler, context } = setUp();
  context.manual = true;
  const controller = new AbortController();
  const stays = collect(scheduler.submit(request(prompt(2), { maxTokens: 20 })));
  const leaves = collect(scheduler.submit(request(prompt(2), { maxTokens: 20, signal: controller.signal })));
  await context.stepStarted();
  for (let i = 0; i < 4; i++) {
    await stepOn(context);
    await tick();
  }
  controller.abort(new Error("left"));
  await t.throwsAsync(leaves, { message: "left" });
  await stepOn(context);
  t.deepEqual(placesOf(context.steps.at(-1)!), [0]);
  t.is(scheduler.running, 1);
  t.is(context.lengths[1], 0);
  context.manual = false;
  context.finishStep();
  t.is((await stays).finish.usage.completionTokens, 20);
  await scheduler.dispose();
});

test("a stop string is seen when the next step runs: its token is in no answer, and in the cache", async (t) => {
  const { scheduler, context } = setUp(2, { prefixCache: true });
  const asked = [request(prompt(3), { stop: ["><5"], maxTokens: 9 }), request(prompt(8), { maxTokens: 9 })];
  const [stopped, other] = await Promise.all(asked.map((each) => collect(scheduler.submit(each))));
  t.is(stopped!.content, "<3><4");
  t.is(stopped!.finish.stopString, "><5");
  t.is(stopped!.finish.usage.completionTokens, 3);
  t.is(other!.finish.usage.completionTokens, 9);
  t.is(context.lengths[0], scheduler.slots()[0]!.cachedTokens);
  const again = await collect(scheduler.submit(request([...prompt(3), 3, 4, 7], { maxTokens: 1 })));
  t.is(again.finish.usage.cachedTokens, 5);
  await scheduler.dispose();
});

test("a step that fails after it began by itself fails its requests; who had ended before keeps the answer", async (t) => {
  const { scheduler, context } = setUp(2);
  context.manual = true;
  const ended = collect(scheduler.submit(request(prompt(3), { stop: ["<5>"] })));
  const failed = collect(scheduler.submit(request(prompt(3))));
  await context.stepStarted();
  for (let token = 3; token < 5; token++) {
    await stepOn(context);
    await tick();
  }
  context.finishStep(); // <5>
  t.true(context.stepRunning);
  context.failStep(new Error("broken"));
  t.is((await ended).content, "<3><4>");
  await t.throwsAsync(failed, { message: /engine failed/ });
  context.manual = false;
  t.is((await collect(scheduler.submit(request(prompt(3), { maxTokens: 2 })))).content, "<3><4>");
  await scheduler.dispose();
});

test("idle sequences that lend a pass to their neighbours end as they were", async (t) => {
  const { scheduler, context } = setUp(4, { gap: 2, prefixCache: true });
  const limits = [12, 1, 1, 12];
  const prompts = limits.map((_, i) => [900 + i, 1, 2]);
  const answers = prompts.map((each, i) => collect(scheduler.submit(request(each, { maxTokens: limits[i]! }))));
  const contents = (await Promise.all(answers)).map(({ content }) => content);
  t.is(contents[0], contents[3]);
  t.true(context.steps.some(({ entries }) => entries.some(({ sequence, output }) => sequence === 1 && !output)));
  t.deepEqual(
    context.lengths,
    scheduler.slots().map(({ cachedTokens }) => cachedTokens),
  );
  for (const each of prompts.slice(1, 3)) {
    const again = await collect(scheduler.submit(request([...each, 3], { maxTokens: 1 })));
    t.is(again.finish.usage.cachedTokens, 3);
  }
  await scheduler.dispose();
});

test("a reader that stalls is left out, and is in the next step once it has caught up", async (t) => {
  const { scheduler, context } = setUp(2);
  const slow = scheduler.submit(request(prompt(2), { maxTokens: 200 }))[Symbol.asyncIterator]();
  await slow.next();
  while (context.stepRunning) await tick(); // nothing to do: what was sampled is not taken
  const quick = await collect(scheduler.submit(request(prompt(4), { maxTokens: 30 })));
  t.is(quick.finish.usage.completionTokens, 30);
  t.true(context.steps.slice(-10).every((step) => placesOf(step).join() === "1"));
  let tokens = 1;
  for (let next = await slow.next(); !next.done; next = await slow.next()) if (next.value.type === "delta") tokens++;
  t.is(tokens, 200);
  await scheduler.dispose();
});
