// Checkpoints over a context whose memory cannot be cut back, as that of recurrent models: when they are made, used and given up.
import test from "ava";
import { Scheduler, type SchedulerOptions } from "../../src/engine/scheduler.ts";
import { TokenPieces } from "../../src/engine/text-stream.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { FakeContext } from "../helpers/fake-context.ts";
import { collect, request } from "../helpers/requests.ts";

/** Bytes of a state of the fake context. */
const stateBytes = 4;

function setUp(sequences: number, overrides: Partial<SchedulerOptions> = {}) {
  const context = new FakeContext(sequences, 256);
  context.cuttable = false;
  const { log, text } = capturedLog();
  const pieces = new TokenPieces({
    bytes: new Uint8Array(1000),
    offsets: Uint32Array.from({ length: 1001 }, (_, i) => i),
  });
  const scheduler = new Scheduler({
    context,
    sequences,
    contextTokens: 1024,
    vocabulary: { pieces, specialPieces: pieces, endTokens: new Set() },
    itlTargetMs: 50,
    prefixCache: true,
    memory: { windowTokens: 0, recurrent: true },
    checkpointBytes: 100 * stateBytes,
    gap: 0,
    passTokens: 0,
    streams: true,
    heartbeat: new Heartbeat(),
    log,
    onLost: () => {},
    ...overrides,
  });
  const ask = async (prompt: readonly number[], cacheScope: string | null = "test") =>
    (await collect(scheduler.submit(request(prompt, { maxTokens: 3, cacheScope })))).finish.usage.cachedTokens;
  return { context, scheduler, ask, text };
}

/** Prompts of two such runs have nothing in common. */
const run = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);

test("the end of a prompt is kept, and the same prompt goes on from there", async (t) => {
  const { context, scheduler, ask } = setUp(1);
  t.is(await ask(run(1, 100)), 0);
  t.deepEqual(context.copies, [{ kind: "save", sequence: 0, length: 96 }]);
  t.is(await ask(run(1, 100)), 96);
  t.deepEqual(context.copies.at(-1), { kind: "load", sequence: 0, length: 96 });
  t.is(await ask(run(1, 100), "another key"), 0);
  t.is(await ask(run(1, 100), null), 0);
  t.is(context.copies.filter(({ kind }) => kind === "save").length, 2, "none for a request that keeps nothing");
  await scheduler.dispose();
});

test("where a second prompt parts from the first, its state is kept, and a third goes on from there", async (t) => {
  const { context, scheduler, ask } = setUp(1);
  await ask(run(1, 100));
  t.is(await ask([...run(1, 60), ...run(500, 100)]), 0);
  t.deepEqual(
    context.copies.map(({ length }) => length),
    [96, 60, 156],
  );
  t.is(await ask([...run(1, 60), ...run(700, 100)]), 60);
  await scheduler.dispose();
});

test("short prompts are not worth a checkpoint", async (t) => {
  const { context, scheduler, ask } = setUp(1);
  await ask(run(1, 35));
  t.deepEqual(context.copies, []);
  await scheduler.dispose();
});

test("an answer that is asked to go on needs no checkpoint", async (t) => {
  const { context, scheduler, ask } = setUp(2);
  await ask(run(1, 100));
  // Sampled were 100, 101 and 102; the last one was never decoded.
  t.is(await ask([...run(1, 100), 100, 101, 102, 500]), 102);
  t.is(context.copies.length, 1);
  await scheduler.dispose();
});

test("requests at once that begin alike wait for the first one, which stops where they part", async (t) => {
  const { context, scheduler, ask } = setUp(4);
  const asked = [500, 600, 700, 800].map((from) => ask([...run(1, 200), ...run(from, 50)]));
  t.deepEqual(await Promise.all(asked), [0, 200, 200, 200]);
  t.deepEqual(context.copies[0], { kind: "save", sequence: 0, length: 200 });
  await scheduler.dispose();
});

test("all checkpoints together stay within their bound; the least recently used gives way", async (t) => {
  const { scheduler, ask } = setUp(3, { checkpointBytes: 2 * stateBytes });
  await ask(run(1, 100));
  await ask(run(200, 100));
  t.is(await ask(run(1, 100)), 96);
  await ask(run(400, 100));
  t.is(await ask(run(200, 100)), 0, "given up for the third");
  t.is(await ask(run(400, 100)), 96);
  await scheduler.dispose();
});

test("states larger than the bound are never kept, and the log says so once", async (t) => {
  const { scheduler, ask, text } = setUp(1, { checkpointBytes: stateBytes - 1 });
  t.deepEqual([await ask(run(1, 100)), await ask(run(1, 100))], [0, 0]);
  t.is(text().match(/none are kept/g)?.length, 1);
  await scheduler.dispose();
});

test("a checkpoint that is not accepted costs a whole prefill, and usage says so", async (t) => {
  const { context, scheduler, ask, text } = setUp(1);
  await ask(run(1, 100));
  context.acceptsStates = false;
  t.is(await ask(run(1, 100)), 0);
  t.regex(text(), /evaluated from its beginning/);
  context.acceptsStates = true;
  t.is(await ask(run(1, 100)), 0, "nothing of it is trusted");
  t.is(await ask(run(1, 100)), 96);
  await scheduler.dispose();
});

test("a client that leaves while its checkpoint is put back leaves a sequence that can be used", async (t) => {
  const { context, scheduler, ask } = setUp(1);
  await ask(run(1, 100));
  const controller = new AbortController();
  const load = context.loadState.bind(context);
  context.loadState = async (...args) => {
    controller.abort(new Error("client left"));
    return load(...args);
  };
  const leaver = collect(scheduler.submit(request(run(1, 100), { signal: controller.signal })));
  await t.throwsAsync(leaver, { message: "client left" });
  context.loadState = load;
  t.is(await ask(run(1, 100)), 96);
  await scheduler.dispose();
});

test("work between steps has the context for itself, and is refused after the end", async (t) => {
  const { context, scheduler, ask } = setUp(2);
  context.manual = true;
  const answer = ask(run(1, 100));
  await context.stepStarted();
  const work = scheduler.exclusively(async (sequences) => [context.stepRunning, sequences.running]);
  context.manual = false;
  context.finishStep();
  t.deepEqual(await work, [false, 1]);
  await answer;
  await scheduler.dispose();
  await t.throwsAsync(
    scheduler.exclusively(async () => {}),
    { message: /shutting down/ },
  );
});
