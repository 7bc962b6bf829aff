// Several choices at once: their events are merged in order, one cause ends them all, and nothing is left behind.
import test from "ava";
import { type ChoiceRequest, ChoiceRun, merge } from "../../src/api/choices.ts";
import type { Engine, GenerationEvent, GenerationRequest } from "../../src/engine/engine.ts";
import { createMockEngine, type MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { gate } from "../helpers/mock-api.ts";
import { request } from "../helpers/requests.ts";

const delta = (text: string): GenerationEvent => ({ type: "delta", parts: [{ kind: "content", text }] });

async function* events(...items: (string | Promise<unknown> | Error)[]): AsyncGenerator<GenerationEvent> {
  for (const item of items) {
    if (item instanceof Error) throw item;
    if (typeof item === "string") yield delta(item);
    else await item;
  }
}

async function textOf(merged: AsyncIterable<{ choice: number; event: GenerationEvent }>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { choice, event } of merged)
    if (event.type === "delta") seen.push(`${choice}${event.parts[0]!.text}`);
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

test("the client's leaving ends every choice with its reason", async (t) => {
  const engine = createMockEngine({ script: forever, maxConcurrentRequests: 1 });
  const client = new AbortController();
  const run = new ChoiceRun(engine, choices, client.signal, 60);
  client.abort(new Error("left"));
  await t.throwsAsync(textOf(run.events), { message: "left" });
  t.is((run.signal.reason as Error).message, "left");
  run.end();
  t.deepEqual([engine.running, engine.waiting], [0, 0]);
});

test("a client that left before is told so", async (t) => {
  const engine = createMockEngine({ script: forever });
  const run = new ChoiceRun(engine, choices, AbortSignal.abort(new Error("left")), 60);
  await t.throwsAsync(textOf(run.events), { message: "left" });
  run.end();
});

test("the deadline ends every choice with a failure that asks not to retry", async (t) => {
  const engine = createMockEngine({ script: forever });
  const run = new ChoiceRun(engine, choices, new AbortController().signal, 0.01);
  const failure = await t.throwsAsync(textOf(run.events), { instanceOf: Failure });
  t.like(failure, { kind: "request_timeout", headers: { "x-should-retry": "false" } });
  run.end();
});

test("the end frees what is unfinished and listens no longer", (t) => {
  const engine = createMockEngine({ script: forever });
  const client = new AbortController();
  const run = new ChoiceRun(engine, choices, client.signal, 60);
  t.is(engine.running, 2);
  run.end();
  run.end();
  t.is(engine.running, 0);
  client.abort();
});

test("an engine that refuses a choice at once ends those before it", (t) => {
  const engine = createMockEngine({ script: forever });
  let calls = 0;
  const refusing = {
    generate: (request: GenerationRequest) => {
      calls += 1;
      if (calls === 2) throw new Error("no");
      return engine.generate(request);
    },
  } as unknown as Engine;
  t.throws(() => new ChoiceRun(refusing, choices, new AbortController().signal, 60), { message: "no" });
  t.is(engine.running, 0);
});
