// Several choices at once: their events are merged in order, one cause ends them all, and nothing is left behind.
import test from "ava";
import { Gate } from "../../src/admission/gate.ts";
import { type ChoiceRequest, ChoiceRun, merge } from "../../src/api/choices.ts";
import type { Engine, GenerationEvent, GenerationRequest, Usage } from "../../src/engine/engine.ts";
import { createMockEngine, type MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import type { ChoiceEvent } from "../../src/openai/answer.ts";
import { gate } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { request } from "../helpers/requests.ts";

const delta = (text: string): GenerationEvent => ({ type: "delta", parts: [{ kind: "content", text }] });

async function* events(...items: (string | Promise<unknown> | Error)[]): AsyncGenerator<GenerationEvent> {
  for (const item of items) {
    if (item instanceof Error) throw item;
    if (typeof item === "string") yield delta(item);
    else await item;
  }
}

const textIn = ({ choice, event }: ChoiceEvent): string[] =>
  event.type === "delta"
    ? event.parts.flatMap((part) => (part.kind === "content" ? [`${choice}${part.text}`] : []))
    : [];

async function textOf(merged: AsyncIterable<ChoiceEvent>): Promise<string[]> {
  const seen: string[] = [];
  for await (const item of merged) seen.push(...textIn(item));
  return seen;
}

async function textOfRun(run: ChoiceRun): Promise<string[]> {
  const seen: string[] = [];
  await run.deliver((item) => {
    seen.push(...textIn(item));
  });
  return seen;
}

test("events of every choice come through, each choice's in order", async (t) => {
  const seen = await textOf(merge([events("a", "b", "c"), events("x", "y"), events()]));
  t.deepEqual(
    seen.filter((item) => item.startsWith("0")),
    ["0a", "0b", "0c"],
  );
  t.deepEqual(
    seen.filter((item) => item.startsWith("1")),
    ["1x", "1y"],
  );
});

test("a choice that waits does not hold up another", async (t) => {
  const door = gate();
  const merged = merge([events(door.promise, "late"), events("a", "b")]);
  t.like(await merged.next(), { value: { choice: 1 } });
  t.like(await merged.next(), { value: { choice: 1 } });
  door.open();
  t.deepEqual(await textOf(merged), ["0late"]);
});

test("no choice is more than one event ahead of the consumer", async (t) => {
  let made = 0;
  const endless = async function* () {
    for (; ; made++) yield delta("x");
  };
  const merged = merge([endless()]);
  for (let taken = 1; taken <= 5; taken++) {
    await merged.next();
    t.true(made <= taken);
  }
});

test("a failure is thrown before what other choices have ready", async (t) => {
  const door = gate();
  const merged = merge([events("a", "b"), events(door.promise, new Error("broken"))]);
  await merged.next();
  door.open();
  await new Promise((resolve) => setImmediate(resolve));
  await t.throwsAsync(Promise.resolve(merged.next()), { message: "broken" });
});

const forever = (): MockStep[] => [{ wait: new Promise(() => {}) }];
const { signal: _, ...choice } = request([1]);
const choices: ChoiceRequest[] = [choice, choice];

/** Choices that wait for their end, over a gate of their own. */
async function start(places: number, options: { engine?: Engine; client?: AbortSignal; timeoutSeconds?: number } = {}) {
  const config = { maxQueueSize: 0, maxQueuedTokens: 0, queueTimeout: 60 };
  const gate = new Gate({ config, places: () => places });
  const place = await gate.enter({ keyId: "test", promptTokens: 1, signal: new AbortController().signal });
  const engine = createMockEngine({ script: forever, maxConcurrentRequests: places });
  const over: (readonly Usage[])[] = [];
  const run = new ChoiceRun({
    engine,
    client: new AbortController().signal,
    timeoutSeconds: 60,
    ...options,
    requests: choices,
    place,
    onOver: (computed) => over.push(computed),
  });
  return { engine, gate, over, run };
}

const none = { promptTokens: 0, cachedTokens: 0, completionTokens: 0, reasoningTokens: 0 };

test("the client's leaving ends every choice with its reason", async (t) => {
  const client = new AbortController();
  const { engine, gate, over, run } = await start(1, { client: client.signal });
  const text = textOfRun(run);
  await until(() => engine.running === 1);
  client.abort(new Error("left"));
  await t.throwsAsync(text, { message: "left" });
  t.is((run.signal.reason as Error).message, "left");
  run.end();
  t.deepEqual([engine.running, engine.waiting, gate.active], [0, 0, 0]);
  // The prompt of the first was read, the second never ran.
  t.deepEqual(over, [[{ ...none, promptTokens: 1 }, none]]);
});

test("choices take places as they come free, and the request is over with the last one", async (t) => {
  const config = { maxQueueSize: 0, maxQueuedTokens: 0, queueTimeout: 60 };
  const gate = new Gate({ config, places: () => 1 });
  const signal = new AbortController().signal;
  const place = await gate.enter({ keyId: "test", promptTokens: 1, signal });
  const script = () => [{ text: "a" }];
  const engine = createMockEngine({ script, maxConcurrentRequests: 1 });
  let over: readonly Usage[] = [];
  const onOver = (computed: readonly Usage[]) => {
    over = computed;
  };
  const run = new ChoiceRun({ engine, requests: choices, place, client: signal, timeoutSeconds: 60, onOver });
  t.deepEqual(await textOfRun(run), ["0a", "1a"]);
  t.deepEqual(over, [
    { ...none, promptTokens: 1, completionTokens: 2 },
    { ...none, promptTokens: 1, completionTokens: 2 },
  ]);
  t.is(gate.active, 0);
  run.end();
});

test("a client that left before is told so", async (t) => {
  const { over, gate, run } = await start(4, { client: AbortSignal.abort(new Error("left")) });
  await t.throwsAsync(textOfRun(run), { message: "left" });
  run.end();
  t.deepEqual([over.length, gate.active], [1, 0]);
});

test("the deadline ends every choice with a failure that asks not to retry", async (t) => {
  const { gate, run } = await start(4, { timeoutSeconds: 0.01 });
  const failure = await t.throwsAsync(textOfRun(run), { instanceOf: Failure });
  t.like(failure, { kind: "request_timeout", headers: { "x-should-retry": "false" } });
  run.end();
  t.is(gate.active, 0);
});

test("the end frees what is unfinished and listens no longer", async (t) => {
  const client = new AbortController();
  const { engine, gate, over, run } = await start(4, { client: client.signal });
  const text = textOfRun(run);
  await until(() => engine.running === 2);
  run.end();
  run.end();
  await t.throwsAsync(text, { any: true });
  t.deepEqual([engine.running, gate.active, over.length], [0, 0, 1]);
  client.abort();
});

test("a run whose events nobody reads gives its place back at its end", async (t) => {
  const { engine, gate, over, run } = await start(1);
  run.end();
  t.deepEqual([engine.running, gate.active], [0, 0]);
  t.deepEqual(over, [[none, none]]);
});

test("an engine that refuses a choice ends the others, and no place is lost", async (t) => {
  const engine = createMockEngine({ script: forever });
  let calls = 0;
  const refusing = {
    generate: (request: GenerationRequest) => {
      calls += 1;
      if (calls === 2) throw new Error("no");
      return engine.generate(request);
    },
  } as unknown as Engine;
  const { gate, over, run } = await start(4, { engine: refusing });
  await t.throwsAsync(textOfRun(run), { message: "no" });
  run.end();
  t.deepEqual([engine.running, gate.active, over.length], [0, 0, 1]);
});
