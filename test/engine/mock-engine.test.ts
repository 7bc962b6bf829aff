// The mock engine keeps the promises of the seam: limits, stop strings, waiting in line, cancelling, failing, usage.
import test from "ava";
import { createMockEngine, type MockStep, mockTokens } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { gate } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { collect, request } from "../helpers/requests.ts";

const say = (...words: string[]) => words.map((text): MockStep => ({ text }));

test("the same prompt gives the same text, another prompt another; a seed counts unless greedy", async (t) => {
  const engine = createMockEngine();
  const text = async (prompt: number[], sampling = {}) => {
    const base = request(prompt, { maxTokens: 100 });
    return (await collect(engine.generate({ ...base, sampling: { ...base.sampling, ...sampling } }))).content;
  };
  const first = await text([1, 2, 3]);
  t.is(await text([1, 2, 3]), first);
  t.is(await text([1, 2, 3], { seed: 5 }), first);
  t.not(await text([1, 2, 4]), first);
  t.not(await text([1, 2, 3], { seed: 5, temperature: 1 }), await text([1, 2, 3], { seed: 6, temperature: 1 }));
});

test("an answer ends with its end token, its limit, or a stop string that is cut out", async (t) => {
  const engine = createMockEngine({ script: () => say("Hel", "lo ", "wor", "ld") });
  const answer = (overrides = {}) => collect(engine.generate(request([1, 2], { maxTokens: 10, ...overrides })));
  const whole = await answer();
  t.is(whole.content, "Hello world");
  t.like(whole.finish, { reason: "stop", stopString: null, usage: { promptTokens: 2, completionTokens: 5 } });
  t.like(await answer({ maxTokens: 2 }), {
    content: "Hello ",
    finish: { reason: "length", usage: { completionTokens: 2 } },
  });
  t.like(await answer({ maxTokens: 0 }), { content: "", finish: { reason: "length", usage: { completionTokens: 0 } } });
  t.like(await answer({ stop: ["o w", "xyz"] }), { content: "Hell", finish: { reason: "stop", stopString: "o w" } });
  t.like(await answer({ stop: ["ldx"] }), { content: "Hello world", finish: { stopString: null } });
  t.deepEqual(engine.ended, { finished: 5, aborted: 0, failed: 0 });
});

test("requests wait in line for a sequence, and the heartbeat tells of tokens", async (t) => {
  const heartbeat = new Heartbeat();
  const doors = [gate(), gate(), gate()];
  let started = 0;
  const script = () => [{ wait: doors[started++]!.promise }, ...say("x")];
  const engine = createMockEngine({ maxConcurrentRequests: 2, heartbeat, script });
  const answers = doors.map(() => collect(engine.generate(request([1]))));
  await until(() => started === 2);
  t.deepEqual([engine.running, engine.waiting], [2, 1]);
  doors[0]!.open();
  await answers[0];
  await until(() => started === 3);
  doors[1]!.open();
  doors[2]!.open();
  await Promise.all(answers);
  t.deepEqual([engine.running, engine.waiting], [0, 0]);
  t.true(heartbeat.tokenAtMs > 0);
});

test("cancelling frees a place at once, whether waiting, running or never read", async (t) => {
  const script = () => [{ wait: new Promise(() => {}) }];
  const engine = createMockEngine({ maxConcurrentRequests: 1, script });
  const controllers = [1, 2, 3].map(() => new AbortController());
  const [running, , waiting] = controllers.map(({ signal }) => engine.generate(request([1], { signal })));
  t.deepEqual([engine.running, engine.waiting], [1, 2]);
  controllers[1]!.abort(new Error("never read"));
  controllers[2]!.abort(new Error("waited"));
  await t.throwsAsync(collect(waiting!), { message: "waited" });
  t.deepEqual([engine.running, engine.waiting], [1, 0]);
  controllers[0]!.abort(new Error("ran"));
  await t.throwsAsync(collect(running!), { message: "ran" });
  t.is(engine.running, 0);
  t.is(engine.ended.aborted, 3);
  const aborted = AbortSignal.abort(new Error("before"));
  await t.throwsAsync(collect(engine.generate(request([1], { signal: aborted }))), { message: "before" });
});

test("a reader that stops early frees the place", async (t) => {
  const engine = createMockEngine({ script: () => say("a", "b", "c") });
  for await (const event of engine.generate(request([1]))) {
    t.is(event.type, "delta");
    break;
  }
  t.is(engine.running, 0);
});

test("a script's failure reaches the reader after what came before it", async (t) => {
  const engine = createMockEngine({
    script: () => [...say("a"), { fail: new Failure("generation_failed", "broken") }],
  });
  const events = engine.generate(request([1]))[Symbol.asyncIterator]();
  t.like(await events.next(), { value: { type: "delta" } });
  await t.throwsAsync(Promise.resolve(events.next()), { message: "broken" });
  t.deepEqual(engine.ended, { finished: 0, aborted: 0, failed: 1 });
});

test("an endless script never runs far ahead of its reader", async (t) => {
  let steps = 0;
  const script = function* (): Generator<MockStep> {
    while (true) {
      steps += 1;
      yield { text: "x" };
    }
  };
  const engine = createMockEngine({ script });
  const events = engine.generate(request([1], { maxTokens: 1e9 }))[Symbol.asyncIterator]();
  await events.next();
  await until(() => steps >= 16);
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.true(steps <= 20);
  await events.return!();
  t.is(engine.running, 0);
});

test("dispose fails everybody and everything after it", async (t) => {
  const engine = createMockEngine({ maxConcurrentRequests: 1, script: () => [{ wait: new Promise(() => {}) }] });
  const answers = [1, 2].map(() => collect(engine.generate(request([1]))));
  await engine.dispose();
  for (const answer of answers) await t.throwsAsync(answer, { instanceOf: Failure });
  await t.throwsAsync(collect(engine.generate(request([1]))), { instanceOf: Failure });
});

test("tokens are bytes, and a prompt begins with a token of its own", async (t) => {
  const engine = createMockEngine();
  t.deepEqual([...(await engine.tokenize("", true, true))], [mockTokens.begin]);
  t.deepEqual([...(await engine.tokenize("é", false, false))], [0xc3 + 3, 0xa9 + 3]);
  const { tokens } = await engine.renderChat({ messages: [{ role: "user", content: "x" }] });
  t.is(tokens[0], mockTokens.begin);
});
