// The scheduler over a context whose steps the test ends by hand.
import { setImmediate as tick } from "node:timers/promises";
import test from "ava";
import type { AnswerFormat, GenerationEvent, GenerationRequest, Usage } from "../../src/engine/engine.ts";
import { Speculation } from "../../src/engine/speculation.ts";
import { stepsPerTurn } from "../../src/engine/turns.ts";
import { Failure } from "../../src/errors.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { fakeLookup } from "../helpers/fake-lookup.ts";
import { collect, request } from "../helpers/requests.ts";
import { endToken, prompt, setUpScheduler as setUp, stepOn } from "../helpers/scheduler.ts";

test("a request's tokens come as text, then one finish with its usage", async (t) => {
  const { scheduler } = setUp();
  const answer = await collect(scheduler.submit(request(prompt(3), { maxTokens: 4 })));
  t.is(answer.content, "<3><4><5><6>");
  t.is(answer.finish.reason, "length");
  t.deepEqual(answer.finish.usage, { promptTokens: 3, cachedTokens: 0, completionTokens: 4, reasoningTokens: 0 });
  t.is(scheduler.running, 0);
  await scheduler.dispose();
});

test("an end token ends the answer, is counted and not shown", async (t) => {
  const { scheduler, context } = setUp();
  context.sample = (_sequence, length) => (length === 4 ? endToken : length);
  const answer = await collect(scheduler.submit(request(prompt(3))));
  t.is(answer.content, "<3>");
  t.is(answer.finish.reason, "stop");
  t.is(answer.finish.stopString, null);
  t.is(answer.finish.usage.completionTokens, 2);
  await scheduler.dispose();
});

test("a stop string ends the answer before another token is decoded", async (t) => {
  const { scheduler, context } = setUp();
  const answer = await collect(scheduler.submit(request(prompt(3), { stop: ["><5"] })));
  t.is(answer.content, "<3><4");
  t.is(answer.finish.stopString, "><5");
  t.is(context.steps.length, 3);
  await scheduler.dispose();
});

test("maxTokens 0 evaluates the prompt and samples nothing", async (t) => {
  const { scheduler, context } = setUp();
  const answer = await collect(scheduler.submit(request(prompt(3), { maxTokens: 0 })));
  t.is(answer.content, "");
  t.is(answer.finish.reason, "length");
  t.is(answer.finish.usage.completionTokens, 0);
  t.false(context.steps[0]!.entries.some((entry) => entry.output));
  await scheduler.dispose();
});

test("requests beyond the sequences wait in order and take the lowest free place", async (t) => {
  const { scheduler, context } = setUp(2);
  context.manual = true;
  const answers = [1, 2, 3].map((maxTokens) => collect(scheduler.submit(request(prompt(2), { maxTokens }))));
  await context.stepStarted();
  t.is(scheduler.running, 2);
  t.is(scheduler.waiting, 1);
  await stepOn(context); // the first is done: its place 0 goes to the third
  t.deepEqual(
    context.steps[1]!.entries.map((entry) => entry.sequence),
    [0, 0, 1],
  );
  context.manual = false;
  context.finishStep();
  await Promise.all(answers);
  await scheduler.dispose();
});

test("every decoding sequence is in every step beside a long prompt", async (t) => {
  const { scheduler, context } = setUp(4, {}, 128);
  context.manual = true;
  const first = collect(scheduler.submit(request(prompt(2), { maxTokens: 50 })));
  await context.stepStarted();
  await stepOn(context);
  const second = collect(scheduler.submit(request(prompt(500), { maxTokens: 1 })));
  for (let i = 0; i < 6; i++) {
    await stepOn(context);
    const entries = context.steps.at(-1)!.entries;
    t.is(entries.filter((entry) => entry.sequence === 0 && entry.output).length, 1);
  }
  t.true(context.steps.some(({ entries }) => entries.some((entry) => entry.sequence === 1)));
  context.manual = false;
  context.finishStep();
  await Promise.all([first, second]);
  await scheduler.dispose();
});

test("with KV streams only chunks of one length share a step; in a pool all do", async (t) => {
  for (const streams of [true, false]) {
    const { scheduler, context } = setUp(4, { streams });
    const answers = [5, 7, 5].map((length) => collect(scheduler.submit(request(prompt(length), { maxTokens: 1 }))));
    await Promise.all(answers);
    const places = context.steps.map(({ entries }) => [...new Set(entries.map((entry) => entry.sequence))]);
    t.deepEqual(places, streams ? [[0, 2], [1]] : [[0, 1, 2]]);
    await scheduler.dispose();
  }
});

test("a small gap of idle sequences is filled and the trace removed, a wide one is not", async (t) => {
  const { scheduler, context } = setUp(8, { gap: 2 });
  context.manual = true;
  const limits = [9, 1, 1, 9, 1, 1, 1, 9];
  const answers = limits.map((maxTokens) => collect(scheduler.submit(request(prompt(2), { maxTokens }))));
  await context.stepStarted();
  await stepOn(context);
  t.deepEqual(
    context.steps[1]!.entries.map((entry) => [entry.sequence, entry.output]),
    [
      [0, true],
      [1, false],
      [2, false],
      [3, true],
      [7, true],
    ],
  );
  await stepOn(context);
  t.is(context.steps[2]!.entries.find((entry) => entry.sequence === 1)!.position, 0);
  context.manual = false;
  context.finishStep();
  await Promise.all(answers);
  await scheduler.dispose();
});

test("a sequence left far from the others goes on beside them, and what was cached there is kept", async (t) => {
  const { scheduler, context } = setUp(9, { gap: 1, passTokens: 2, prefixCache: true });
  context.manual = true;
  const cached = collect(scheduler.submit(request([901, 902, 903], { maxTokens: 1 })));
  await context.stepStarted();
  context.finishStep();
  await cached;
  // Place 0 holds what is cached, so these take 1 to 7. It is the longest unused when 7 has to move, and goes to the empty place 8.
  const limits = [90, 90, 2, 2, 2, 2, 90];
  const answers = limits.map((maxTokens) => collect(scheduler.submit(request(prompt(2), { maxTokens }))));
  await context.stepStarted();
  const running = () => [...new Set(context.steps.at(-1)!.entries.map(({ sequence }) => sequence))];
  while (running().length > 3) await stepOn(context);
  t.deepEqual(running(), [0, 1, 2]);
  t.deepEqual([...context.samplers].sort(), [0, 1, 2]);
  context.manual = false;
  context.finishStep();
  for (const [i, { content, finish }] of (await Promise.all(answers)).entries()) {
    t.is(finish.usage.completionTokens, limits[i]!);
    t.is(content, Array.from({ length: limits[i]! }, (_, n) => `<${2 + n}>`).join(""));
  }
  const again = await collect(scheduler.submit(request([901, 902, 903, 904], { maxTokens: 1 })));
  t.is(again.finish.usage.cachedTokens, 3);
  await scheduler.dispose();
});

test("requests of different LoRA scales take turns, and none waits for another one's whole prompt", async (t) => {
  const { scheduler, context } = setUp(4, {}, 64);
  context.manual = true;
  const ask = (length: number, scale: number) =>
    collect(scheduler.submit(request(prompt(length), { maxTokens: 40, loraScales: [scale] })));
  const answers = [ask(2, 0), ask(3, 1)];
  await context.stepStarted();
  await stepOn(context);
  await stepOn(context);
  answers.push(ask(400, 0.5));
  for (let i = 0; i < 6 * stepsPerTurn; i++) await stepOn(context);
  const steps = context.steps
    .slice(-3 * stepsPerTurn)
    .map(({ entries, scales }) => [scales[0], ...new Set(entries.map((e) => e.sequence))].join());
  for (const turn of ["0,0", "0.5,2", "1,1"]) t.is(steps.filter((step) => step === turn).length, stepsPerTurn, turn);
  const chunks = context.steps.filter(({ scales }) => scales[0] === 0.5).map(({ entries }) => entries.length);
  t.true(chunks.length >= stepsPerTurn, `${chunks}`);
  context.manual = false;
  context.finishStep();
  const contents = (await Promise.all(answers)).map(({ finish }) => finish.usage.completionTokens);
  t.deepEqual(contents, [40, 40, 40]);
  await scheduler.dispose();
});

/** Guesses from the text; the context samples a text that repeats every five tokens, its end token once at that length. */
function speculating(endAt = Number.POSITIVE_INFINITY, sequences = 2) {
  const speculation = new Speculation({
    lookup: fakeLookup,
    model: undefined,
    mostRunning: 2,
    endTokens: new Set([endToken]),
    log: silentLog(),
  });
  const parts = setUp(sequences, { speculation, prefixCache: true });
  parts.context.sample = (_, length) => (length === endAt ? endToken : length % 5);
  return { ...parts, speculation };
}

const cycle = (length: number) => Array.from({ length }, (_, i) => i % 5);
const cycleText = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `<${(from + i) % 5}>`).join("");

test("right guesses make a step bring several tokens, in two sequences too", async (t) => {
  const { scheduler, context, speculation } = speculating();
  const answers = [12, 12].map((length) => collect(scheduler.submit(request(cycle(length), { maxTokens: 40 }))));
  for (const { content, finish } of await Promise.all(answers)) {
    t.is(content, cycleText(12, 52));
    t.is(finish.usage.completionTokens, 40);
  }
  t.true(context.steps.length < 25, `${context.steps.length} steps`);
  t.true(speculation.info.acceptedTokens > 40);
  await scheduler.dispose();
});

test("a run of right guesses ends with the answer: at its limit, its end token or a stop string", async (t) => {
  for (const [endAt, overrides, content, cached] of [
    [undefined, { maxTokens: 13 }, cycleText(12, 25), 24],
    [20, { maxTokens: 40 }, cycleText(12, 20), 20],
    [undefined, { maxTokens: 40, stop: ["<0><1><2><3><4><0>"] }, cycleText(12, 15), 20],
  ] as const) {
    const { scheduler } = speculating(endAt, 1);
    t.is((await collect(scheduler.submit(request(cycle(12), overrides)))).content, content);
    t.is(scheduler.slots()[0]!.cachedTokens, cached);
    const next = await collect(scheduler.submit(request(cycle(40), { maxTokens: 1 })));
    t.is(next.finish.usage.cachedTokens, cached);
    await scheduler.dispose();
  }
});

test("wrong guesses leave nothing behind", async (t) => {
  const { scheduler, context, speculation } = speculating(undefined, 1);
  context.sample = (_, length) => (length === 12 ? 2 : length);
  const { content } = await collect(scheduler.submit(request(cycle(12), { maxTokens: 6 })));
  t.is(content, "<2><13><14><15><16><17>");
  t.is(context.lengths[0], 17);
  const again = await collect(scheduler.submit(request([...cycle(13), 13, 14], { maxTokens: 1 })));
  t.is(again.finish.usage.cachedTokens, 14);
  t.deepEqual(speculation.info, { draftedTokens: 4, acceptedTokens: 0 });
  await scheduler.dispose();
});

function cancellable(overrides: Partial<GenerationRequest> = {}) {
  const controller = new AbortController();
  return { controller, request: request(prompt(40), { signal: controller.signal, maxTokens: 100, ...overrides }) };
}

const gone = new Error("client left");

test("a client that leaves while queued never reaches the engine", async (t) => {
  const { scheduler, context } = setUp(1);
  context.manual = true;
  const running = collect(scheduler.submit(request(prompt(2), { maxTokens: 2 })));
  await context.stepStarted();
  const { controller, request: queued } = cancellable();
  const answer = collect(scheduler.submit(queued));
  t.is(scheduler.waiting, 1);
  controller.abort(gone);
  t.is(scheduler.waiting, 0);
  await t.throwsAsync(answer, { is: gone });
  context.manual = false;
  context.finishStep();
  await running;
  t.is(context.steps.length, 2);
  await scheduler.dispose();
});

for (const [phase, steps] of [
  ["in prefill", 0],
  ["while decoding", 5],
] as const) {
  test(`a client that leaves ${phase} frees its sequence within one step`, async (t) => {
    const { scheduler, context } = setUp(2, {}, 16);
    context.manual = true;
    const neighbour = collect(scheduler.submit(request(prompt(2), { maxTokens: 30 })));
    const { controller, request: leaving } = cancellable();
    const answer = collect(scheduler.submit(leaving));
    await context.stepStarted();
    for (let i = 0; i < steps; i++) await stepOn(context);
    controller.abort(gone);
    await t.throwsAsync(answer, { is: gone });
    await stepOn(context);
    t.is(scheduler.running, 1);
    t.false(context.steps.at(-1)!.entries.some((entry) => entry.sequence === 1));
    t.is(context.lengths[1], 0);
    t.deepEqual([...context.samplers], [0]);
    context.manual = false;
    context.finishStep();
    t.is((await neighbour).finish.usage.completionTokens, 30);
    await scheduler.dispose();
  });
}

test("a reader that stops iterating frees its sequence", async (t) => {
  const { scheduler } = setUp();
  for await (const _event of scheduler.submit(request(prompt(2), { maxTokens: 500 }))) break;
  while (scheduler.running > 0) await tick();
  t.is(scheduler.running, 0);
  await scheduler.dispose();
});

test("an aborted signal at submission is refused at once", async (t) => {
  const { scheduler, context } = setUp();
  await t.throwsAsync(collect(scheduler.submit(request(prompt(2), { signal: AbortSignal.abort(gone) }))), { is: gone });
  t.is(context.steps.length, 0);
  await scheduler.dispose();
});

test("200 clients that leave, in every phase, leave no sequence, sampler or listener behind", async (t) => {
  const { scheduler, context } = setUp(4);
  for (let i = 0; i < 200; i++) {
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    }) as typeof add;
    signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    }) as typeof remove;
    const answer = collect(scheduler.submit(request(prompt(40), { signal, maxTokens: 100 })));
    for (let ticks = i % 10; ticks > 0; ticks--) await tick();
    controller.abort(gone);
    await t.throwsAsync(answer, { is: gone });
    t.is(listeners, 0);
  }
  while (scheduler.running > 0) await tick();
  t.is(context.samplers.size, 0);
  t.true(context.lengths.every((length) => length === 0));
  await scheduler.dispose();
});

test("a failed step fails only the requests in it, and the next request works", async (t) => {
  const { scheduler, context, lost } = setUp(1);
  context.manual = true;
  const inStep = collect(scheduler.submit(request(prompt(2))));
  const waiting = collect(scheduler.submit(request(prompt(2), { maxTokens: 2 })));
  await context.stepStarted();
  context.manual = false;
  context.failStep(new Error("the device is out of memory"));
  const failure = await t.throwsAsync(inStep, { instanceOf: Failure });
  t.is((failure as Failure).kind, "generation_failed");
  t.is((await waiting).finish.usage.completionTokens, 2);
  t.is(scheduler.running, 0);
  t.deepEqual(lost, []);
  await scheduler.dispose();
});

test("three failed steps in a row mean the engine is lost, once", async (t) => {
  const { scheduler, context, lost } = setUp(1);
  context.manual = true;
  for (let i = 0; i < 4; i++) {
    const answer = collect(scheduler.submit(request(prompt(2))));
    await context.stepStarted();
    context.failStep(new Error("gone"));
    await t.throwsAsync(answer, { instanceOf: Failure });
  }
  t.is(lost.length, 1);
  await scheduler.dispose();
});

test("a reader slower than the model is not decoded further, its neighbours are", async (t) => {
  const { scheduler, context } = setUp(2, { contextTokens: 100_000 }, 128);
  const slow = scheduler.submit(request(prompt(2), { maxTokens: 9000 }))[Symbol.asyncIterator]();
  await slow.next();
  const done = collect(scheduler.submit(request(prompt(2), { maxTokens: 8000 })));
  context.sample = (_sequence, length) => length % 900;
  t.is((await done).finish.usage.completionTokens, 8000);
  t.true(context.lengths[0]! < 4200);
  let rest = 0;
  for (let event = await slow.next(); !event.done; event = await slow.next()) rest++;
  t.true(rest > 8000);
  await scheduler.dispose();
});

test("a sequence that cannot be sampled fails alone, and its place is free again", async (t) => {
  const { scheduler, context } = setUp(2);
  context.sample = (sequence, length) => (sequence === 0 && length === 5 ? -1 : length);
  const sampler = { prepared: {}, ownGrammar: true };
  const [failed, beside] = await Promise.all([
    t.throwsAsync(collect(scheduler.submit(request(prompt(3), { maxTokens: 8, sampler }))), { instanceOf: Failure }),
    collect(scheduler.submit(request(prompt(3), { maxTokens: 8 }))),
  ]);
  t.like(failed, { kind: "invalid_grammar", param: "grammar" });
  t.is(beside.finish.usage.completionTokens, 8);
  context.failure = { code: "GRAMMAR_DEAD_END", message: "no token" };
  const bySchema = await t.throwsAsync(collect(scheduler.submit(request(prompt(3)))), { instanceOf: Failure });
  t.is(bySchema.kind, "schema_too_complex");
  context.failure = { code: "SAMPLING_FAILED", message: "the logits are not numbers" };
  const broken = await t.throwsAsync(collect(scheduler.submit(request(prompt(3)))), { instanceOf: Failure });
  t.is(broken.kind, "generation_failed");
  t.is(scheduler.running, 0);
});

test("dispose fails running and waiting requests and later ones at once", async (t) => {
  const { scheduler, context } = setUp(1);
  context.manual = true;
  const running = collect(scheduler.submit(request(prompt(2))));
  const waiting = collect(scheduler.submit(request(prompt(2))));
  await context.stepStarted();
  const disposed = scheduler.dispose();
  await t.throwsAsync(running, { instanceOf: Failure });
  await t.throwsAsync(waiting, { instanceOf: Failure });
  context.finishStep();
  await disposed;
  await t.throwsAsync(collect(scheduler.submit(request(prompt(2)))), { instanceOf: Failure });
});

test("an answer format's reader splits the text, and its tokens count as reasoning", async (t) => {
  const { scheduler } = setUp();
  const answer: AnswerFormat = {
    preservedTokens: new Set(),
    thinks: true,
    constrained: false,
    stop: ["<7>"],
    createReader: () => ({
      push: (text) => [{ kind: /<[34]>/.test(text) ? "reasoning" : "content", text }],
      end: () => [{ kind: "content", text: "!" }],
    }),
  };
  const result = await collect(scheduler.submit(request(prompt(3), { answer })));
  t.is(result.reasoning, "<3><4>");
  t.is(result.content, "<5><6>!");
  t.is(result.finish.usage.reasoningTokens, 2);
  t.is(result.finish.stopString, "<7>");
  await scheduler.dispose();
});

test("an answer that its reader fails on fails alone", async (t) => {
  const { scheduler } = setUp();
  const answer: AnswerFormat = {
    preservedTokens: new Set(),
    thinks: false,
    constrained: false,
    stop: [],
    createReader: () => ({
      push: () => {
        throw new Error("unreadable");
      },
      end: () => [],
    }),
  };
  const failing = collect(scheduler.submit(request(prompt(3), { answer })));
  const neighbour = collect(scheduler.submit(request(prompt(3), { maxTokens: 4 })));
  const failure = await t.throwsAsync(failing, { instanceOf: Failure });
  t.is((failure as Failure).kind, "generation_failed");
  t.is((await neighbour).content, "<3><4><5><6>");
  t.is(scheduler.running, 0);
  await scheduler.dispose();
});

const cacheOn = { prefixCache: true };

test("a prompt that begins like an earlier one evaluates only the rest, at least one token", async (t) => {
  const { scheduler, context } = setUp(2, cacheOn);
  await collect(scheduler.submit(request(prompt(20), { maxTokens: 3 })));
  const same = await collect(scheduler.submit(request(prompt(20), { maxTokens: 1 })));
  t.is(same.finish.usage.cachedTokens, 19);
  t.is(context.steps.at(-1)!.entries.length, 1);
  const longer = await collect(scheduler.submit(request([...prompt(19), 500, 501], { maxTokens: 1 })));
  t.is(longer.finish.usage.cachedTokens, 19);
  const other = await collect(scheduler.submit(request([7, ...prompt(20)], { maxTokens: 1 })));
  t.is(other.finish.usage.cachedTokens, 0);
  await scheduler.dispose();
});

test("a conversation goes on from its own answer", async (t) => {
  const { scheduler } = setUp(2, cacheOn);
  await collect(scheduler.submit(request(prompt(20), { maxTokens: 4 })));
  // Sampled were 20, 21, 22 and 23; the last one was never decoded.
  const next = await collect(scheduler.submit(request([...prompt(20), 20, 21, 22, 23, 500], { maxTokens: 1 })));
  t.is(next.finish.usage.cachedTokens, 23);
  await scheduler.dispose();
});

test("another scope never reuses, even by accident of place", async (t) => {
  const { scheduler } = setUp(1, cacheOn);
  await collect(scheduler.submit(request(prompt(20), { cacheScope: "a" })));
  const other = await collect(scheduler.submit(request(prompt(20), { cacheScope: "b" })));
  t.is(other.finish.usage.cachedTokens, 0);
  await scheduler.dispose();
});

test("a prompt shared by eight waiting requests is evaluated once", async (t) => {
  const { scheduler, context } = setUp(8, cacheOn);
  const answers = Array.from({ length: 8 }, () => collect(scheduler.submit(request(prompt(60), { maxTokens: 3 }))));
  const cached = (await Promise.all(answers)).map((answer) => answer.finish.usage.cachedTokens);
  t.deepEqual(cached, [0, 59, 59, 59, 59, 59, 59, 59]);
  const evaluated = context.steps.flatMap(({ entries }) => entries).filter((entry) => entry.position < 59);
  t.is(evaluated.length, 59);
  await scheduler.dispose();
});

test("requests that wait for a shared beginning go on when its owner leaves", async (t) => {
  const { scheduler, context } = setUp(4, cacheOn, 16);
  context.manual = true;
  const { controller, request: owner } = cancellable();
  const first = collect(scheduler.submit(owner));
  await context.stepStarted();
  const second = collect(scheduler.submit(request(prompt(40), { maxTokens: 2 })));
  controller.abort(gone);
  await t.throwsAsync(first, { is: gone });
  context.manual = false;
  context.finishStep();
  t.is((await second).finish.usage.cachedTokens, 16);
  await scheduler.dispose();
});

test("places are taken empty first, then least recently used; a long cache is not spent on a short match", async (t) => {
  const { scheduler, context } = setUp(3, cacheOn, 128);
  const used = async (tokens: number[]) => {
    await collect(scheduler.submit(request(tokens, { maxTokens: 1 })));
    return context.steps.at(-1)!.entries[0]!.sequence;
  };
  const long = prompt(100);
  t.is(await used(long), 0);
  t.is(await used([...prompt(40), 900]), 1); // copied: place 0 keeps its 100 tokens
  t.is(context.lengths[0], 100);
  t.is(await used([900, 901]), 2);
  t.is(await used([...long, 902]), 0);
  t.is(await used([903, 904]), 1); // the least recently used
  await scheduler.dispose();
});

for (const [size, shared, copies] of [
  ["too short to be copied", 10, []],
  ["worth a copy", 50, [[0, 1]]],
] as const) {
  test(`a place that is given up keeps a beginning it shares, ${size}`, async (t) => {
    const { scheduler, context } = setUp(2, cacheOn, 256);
    const used = async (own: number) => {
      const tail = Array.from({ length: 60 }, (_, i) => own + i);
      const { finish } = await collect(scheduler.submit(request([...prompt(shared), ...tail], { maxTokens: 1 })));
      return [context.steps.at(-1)!.entries[0]!.sequence, finish.usage.cachedTokens];
    };
    t.deepEqual(await used(100), [0, 0]);
    t.deepEqual(await used(200), [1, copies.length > 0 ? shared : 0]);
    t.deepEqual(await used(300), [0, shared]);
    t.deepEqual(await used(400), [1, shared]);
    t.deepEqual(context.sequenceCopies, copies);
    await scheduler.dispose();
  });
}

test("what a failed step left behind is never reused", async (t) => {
  const { scheduler, context } = setUp(2, cacheOn, 16);
  context.manual = true;
  const failing = collect(scheduler.submit(request(prompt(40))));
  await context.stepStarted();
  await stepOn(context);
  context.manual = false;
  context.failStep(new Error("lost"));
  await t.throwsAsync(failing, { instanceOf: Failure });
  const again = await collect(scheduler.submit(request(prompt(40), { maxTokens: 1 })));
  t.is(again.finish.usage.cachedTokens, 0);
  await scheduler.dispose();
});

test("onEnd tells once, when the sequence is free, what was computed, however it ended", async (t) => {
  const { scheduler, context } = setUp(1);
  const told: unknown[][] = [];
  const submit = (name: string, length: number, maxTokens: number, signal = new AbortController().signal) => {
    const onEnd = ({ promptTokens, cachedTokens, completionTokens }: Usage) =>
      told.push([name, promptTokens, cachedTokens, completionTokens, scheduler.running]);
    return collect(scheduler.submit(request(prompt(length), { maxTokens, signal, onEnd })));
  };
  await submit("finished", 3, 2);
  await t.throwsAsync(submit("late", 3, 2, AbortSignal.abort(new Error("before"))));
  context.manual = true;
  const [cancelled, waiting] = [new AbortController(), new AbortController()];
  const running = submit("cancelled", 5, 9, cancelled.signal);
  const gone = submit("waiting", 4, 9, waiting.signal);
  await context.stepStarted();
  waiting.abort(new Error("left"));
  await t.throwsAsync(gone);
  await stepOn(context);
  cancelled.abort(new Error("left"));
  await t.throwsAsync(running);
  t.is(told.length, 3);
  context.finishStep();
  const failing = submit("failed", 40, 9);
  await context.stepStarted();
  context.failStep(new Error("broken"));
  await t.throwsAsync(failing);
  await scheduler.dispose();
  t.deepEqual(told, [
    ["finished", 3, 0, 2, 0],
    ["late", 0, 0, 0, 0],
    ["waiting", 0, 0, 0, 1],
    ["cancelled", 5, 0, 1, 0],
    ["failed", 0, 0, 0, 0],
  ]);
});

test("two keys' prompts are evaluated in turn, so a short one does not wait for another key's long ones", async (t) => {
  const { scheduler, context } = setUp(4, {}, 16);
  context.manual = true;
  const by = (keyId: string) => ({ maxTokens: 1, cacheScope: keyId, caller: { keyId, requestId: "r" } });
  const first = prompt(64);
  const answers = [
    ...[first, first.map((token) => token + 100)].map((tokens) => collect(scheduler.submit(request(tokens, by("a"))))),
    collect(scheduler.submit(request(prompt(8), by("b")))),
  ];
  await context.stepStarted();
  await stepOn(context);
  t.deepEqual([...new Set(context.steps[0]!.entries.map(({ sequence }) => sequence))], [0]);
  t.true(context.steps[1]!.entries.some(({ sequence, output }) => sequence === 2 && output));
  context.manual = false;
  context.finishStep();
  await Promise.all(answers);
  await scheduler.dispose();
});

test("work: one pass a step while sequences side by side decode; a gap that is not filled costs another", async (t) => {
  const passes = async (gap: number) => {
    const { scheduler, context } = setUp(3, { gap });
    context.manual = true;
    const stays = () => collect(scheduler.submit(request(prompt(3), { maxTokens: 6 })));
    const abort = new AbortController();
    const [one, gone, two] = [
      stays(),
      collect(scheduler.submit(request(prompt(3), { signal: abort.signal }))),
      stays(),
    ];
    await context.stepStarted();
    await stepOn(context);
    abort.abort(new Error("left"));
    await t.throwsAsync(gone, { message: "left" });
    context.manual = false;
    context.finishStep();
    await Promise.all([one, two]);
    await scheduler.dispose();
    return scheduler.work;
  };
  t.deepEqual(await passes(1), { steps: 5, passes: 5 });
  t.deepEqual(await passes(0), { steps: 5, passes: 9 });
});

/** All events but deltas, without their times. */
async function told(events: AsyncIterable<GenerationEvent>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const event of events) {
    if (event.type === "prompt") list.push(event.scores.map(({ token, logprob, top }) => [token, logprob, top.length]));
    if (event.type === "progress") list.push([event.processedTokens, event.cachedTokens, event.promptTokens]);
  }
  return list;
}

test("a prompt is scored token by token, a few in a step, and nothing of it is reused", async (t) => {
  const { context, scheduler } = setUp(1, { prefixCache: true });
  await collect(scheduler.submit(request(prompt(70))));
  const before = context.steps.length;
  const events = await told(scheduler.submit(request(prompt(70), { promptLogprobs: 2, maxTokens: 1 })));
  const scores = Array.from({ length: 69 }, (_, i) => [i + 2, -(i + 2), 2]);
  t.deepEqual(events.flat(), scores);
  t.deepEqual(
    context.steps.slice(before).map(({ entries }) => entries.length),
    [32, 32, 6],
  );
  const again = await collect(scheduler.submit(request(prompt(70))));
  t.is(again.finish.usage.cachedTokens, 69);
  const only = await told(scheduler.submit(request(prompt(3), { promptLogprobs: 0, maxTokens: 0 })));
  t.deepEqual(only.flat(), [
    [2, -2, 0],
    [3, -3, 0],
  ]);
});

test("other prompts go along with one that is scored", async (t) => {
  const { context, scheduler } = setUp(2);
  const scored = told(scheduler.submit(request(prompt(70), { promptLogprobs: 0, maxTokens: 1 })));
  const other = collect(scheduler.submit(request(prompt(60), { maxTokens: 1 })));
  await other;
  t.is((await scored).flat().length, 69);
  const lengths = context.steps.map(({ entries }) =>
    [0, 1].map((id) => entries.filter(({ sequence }) => sequence === id).length),
  );
  t.deepEqual(lengths, [
    [32, 32],
    [32, 0],
    [6, 6],
    [0, 22],
  ]);
});

test("progress is told at the start, for every step, and at the end of a prompt", async (t) => {
  const { scheduler } = setUp(1, { prefixCache: true }, 32);
  const ask = () => told(scheduler.submit(request(prompt(70), { reportProgress: true, maxTokens: 1 })));
  t.deepEqual(await ask(), [
    [0, 0, 70],
    [32, 0, 70],
    [64, 0, 70],
    [70, 0, 70],
  ]);
  t.deepEqual(await ask(), [
    [69, 69, 70],
    [70, 69, 70],
  ]);
});

test("an answer that its reader cannot take fails alone", async (t) => {
  const { scheduler } = setUp(2);
  const answer: AnswerFormat = {
    createReader: () => ({
      push: () => {
        throw new Error("unreadable");
      },
      end: () => [],
    }),
    preservedTokens: new Set(),
    stop: [],
    thinks: false,
    constrained: false,
  };
  const failing = collect(scheduler.submit(request(prompt(3), { answer })));
  const other = collect(scheduler.submit(request(prompt(4), { maxTokens: 3 })));
  t.like(await t.throwsAsync(failing, { instanceOf: Failure }), { kind: "generation_failed" });
  t.is((await other).content, "<4><5><6>");
  t.is((await collect(scheduler.submit(request(prompt(4), { maxTokens: 3 })))).content, "<4><5><6>");
});
