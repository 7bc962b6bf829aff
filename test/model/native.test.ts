// The addon itself, without scheduler: bad arguments are errors, never a crash.
import test from "ava";
import fc from "fast-check";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import type { NativeConstraint, NativeContext, NativeContextOptions, NativeModel } from "../../src/engine/addon.ts";
import type { Sampling } from "../../src/engine/engine.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { writeLora } from "../helpers/lora.ts";
import { greedy } from "../helpers/requests.ts";
import { tinyChatPath } from "../helpers/tiny-engine.ts";

const options: NativeContextOptions = {
  contextTokens: 512,
  batchTokens: 32,
  microBatchTokens: 32,
  sequences: 2,
  threads: 1,
  flashAttention: "auto",
  keyType: "f16",
  valueType: "f16",
  unified: false,
};

/** llama.dispose() waits for ever for a model that was collected before it could be disposed of. */
const kept: unknown[] = [];

async function setUp() {
  const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const model = await llama.loadModel({ modelPath: tinyChatPath });
  kept.push(model);
  const addon = loadAddon();
  const native: NativeModel = new addon.Model((model as unknown as { _model: unknown })._model);
  return { llama, model, addon, native };
}

/** Puts one token into the batch at index 0. */
function put(context: NativeContext, token: number, position: number, output = 0, sequence = 0): void {
  const buffers = context.buffers();
  buffers.tokens[0] = token;
  buffers.positions[0] = position;
  buffers.sequences[0] = sequence;
  buffers.outputs[0] = output;
}

test.serial("wrong arguments are errors and the context goes on working", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  for (const count of [0, -1, 33, Number.NaN, 1e12]) t.throws(() => context.step(count), { message: /1 to n_batch/ });
  put(context, 1024, 0);
  t.throws(() => context.step(1), { message: /vocabulary/ });
  put(context, -1, 0);
  t.throws(() => context.step(1), { message: /vocabulary/ });
  put(context, 1, 0, 0, 2);
  t.throws(() => context.step(1), { message: /sequence outside/ });
  put(context, 1, -1);
  t.throws(() => context.step(1), { message: /negative position/ });
  put(context, 1, 0, 1);
  t.throws(() => context.step(1), { message: /without a sampler/ });
  for (const target of [1024, -1]) {
    put(context, 1, 0, 2);
    context.buffers().targets[0] = target;
    t.throws(() => context.step(1), { message: /target outside/ });
  }
  put(context, 1, 0);
  t.is(await context.step(1), 0);
  put(context, 1, 7);
  await t.throwsAsync(context.step(1) as Promise<number>, { code: "STEP_FAILED" });
  t.throws(() => context.removeTokens(2, 0, -1), { message: /no such sequence/ });
  t.throws(() => context.setSampler(0, { ...greedy, temperature: 3 }, new Int32Array(), -1), {
    message: /temperature/,
  });
  t.throws(() => context.setSampler(0, { ...greedy, logitBias: [[5000, 1]] }, new Int32Array(), -1), {
    message: /logitBias/,
  });
  context.setSampler(0, greedy, new Int32Array(), -1);
  put(context, 1, 1, 1);
  t.is(await context.step(1), 1);
  const { sampled, logprobs, topTokens, targets } = context.buffers();
  targets[0] = 7;
  put(context, 1, 2, 2);
  t.is(await context.step(1), 1);
  t.deepEqual([sampled[0], topTokens[0]], [7, 7]);
  t.true(logprobs[0]! < 0 && logprobs[0]! <= logprobs[1]!);
  t.deepEqual(
    [...logprobs.slice(1, 21)].sort((a, b) => b - a),
    [...logprobs.slice(1, 21)],
  );
  await t.throwsAsync(native.schemaGrammar("{"));
  context.dispose();
  await llama.dispose();
});

test.serial("a sequence's state can be taken out and put back, and wrong arguments are errors", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  t.is(context.firstPosition(0), -1);
  for (let position = 0; position < 5; position++) {
    put(context, position, position);
    await context.step(1);
  }
  t.is(context.firstPosition(0), 0);
  const saving = context.saveState(0, false, 1e9);
  t.throws(() => context.step(1), { message: /a step is running/ });
  const state = (await saving)!;
  t.true(state.byteLength > 5);
  t.is(await context.saveState(0, false, state.byteLength - 1), null);
  // Over the other sequence and back: the bytes name the sequence they were taken from.
  t.true(await context.loadState(1, state, false));
  t.is(context.firstPosition(1), 0);
  t.true(await context.loadState(0, (await context.saveState(1, false, 1e9))!, false));
  t.true(Buffer.from(state).equals((await context.saveState(0, false, 1e9))!));
  for (const bad of [new Uint8Array(0), new Uint8Array(100), state.subarray(0, state.byteLength - 1)]) {
    t.false(await context.loadState(1, bad, false));
    t.true(context.removeTokens(1, -1, -1));
  }
  t.is(context.firstPosition(1), -1);
  t.throws(() => context.saveState(2, false, 1e9), { message: /no such sequence/ });
  t.throws(() => context.loadState(0, "state" as unknown as Uint8Array, false), { message: /Uint8Array/ });
  t.throws(() => context.loadState(0, new Float32Array(4) as unknown as Uint8Array, false), { message: /Uint8Array/ });
  const cut = context.saveState(0, false, 1e9).then(
    () => "done",
    (error) => error.code,
  );
  context.dispose();
  t.true(["done", "ABORTED"].includes(await cut));
  await llama.dispose();
});

test.serial("while a step runs nothing else touches the context; after dispose everything is refused", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  put(context, 1, 0);
  const running = context.step(1);
  t.throws(() => context.step(1), { message: /a step is running/ });
  t.throws(() => context.removeTokens(0, -1, -1), { message: /a step is running/ });
  for (const copy of [() => context.saveState(0, false, 1e9), () => context.loadState(0, new Uint8Array(9), false)]) {
    t.throws(copy, { message: /a step is running/ });
  }
  t.throws(() => context.firstPosition(0), { message: /a step is running/ });
  t.is(await running, 0);
  put(context, 1, 1);
  const cut = context.step(1).then(
    () => "done",
    (error) => error.code,
  );
  const buffers = context.buffers();
  context.dispose();
  context.dispose();
  t.true(["done", "ABORTED"].includes(await cut));
  t.throws(() => context.memory(), { message: /disposed/ });
  buffers.tokens.fill(1); // still the caller's memory
  await llama.dispose();
  t.throws(() => native.describe(), { message: /disposed/ });
});

test.serial("contexts that cannot be created say why", async (t) => {
  const { llama, addon, native } = await setUp();
  t.throws(() => addon.createContext(native, { ...options, sequences: 100_000 }), { message: /sequences/ });
  t.throws(() => addon.createContext(native, { ...options, keyType: "q9" as "f16" }), { message: /keyType/ });
  await t.throwsAsync(addon.createContext(native, { ...options, valueType: "q4_0", flashAttention: "off" }), {
    message: /could not create the context/,
  });
  t.throws(() => new addon.Model({}));
  t.throws(() => new addon.Model(undefined));
  const parsing = { reasoning: true, toolCalls: false, continues: false };
  for (const wrong of [99, "", {}, native, undefined]) {
    t.throws(() => new addon.AnswerParser(wrong as never, "", parsing), { message: /no answer format/ });
  }
  await llama.dispose();
});

test.serial("copies and removals keep a sequence's answer", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  const prompt = await native.tokenize("Once upon a time", true, true);
  const buffers = context.buffers();
  const next = async (sequence: number, token: number, position: number) => {
    context.setSampler(sequence, greedy, new Int32Array(), -1);
    put(context, token, position, 1, sequence);
    await context.step(1);
    return buffers.sampled[0]!;
  };
  for (let i = 0; i < prompt.length - 1; i++) {
    put(context, prompt[i]!, i);
    await context.step(1);
  }
  const last = prompt.length - 1;
  context.copySequence(0, 1);
  const original = await next(0, prompt[last]!, last);
  t.is(await next(1, prompt[last]!, last), original);
  t.true(context.removeTokens(1, last, -1));
  t.is(await next(1, prompt[last]!, last), original);
  context.dispose();
  await llama.dispose();
});

/** Never ends by itself. */
const endless = (native: NativeModel): Sampling => ({
  ...greedy,
  logitBias: [...native.endOfGenerationTokens()].map((token): [number, number] => [token, -100]),
});

/** Of `count` steps of two sequences: the greedy tokens, and what is told of the first one's log-probabilities. */
async function decodeBoth(
  context: NativeContext,
  sampling: Sampling,
  count: number,
  ahead: boolean,
): Promise<number[][]> {
  const buffers = context.buffers();
  for (const sequence of [0, 1]) {
    context.removeTokens(sequence, -1, -1);
    context.setSampler(sequence, sampling, new Int32Array(), sequence === 0 ? 2 : -1);
  }
  buffers.tokens.set([300, 301]);
  buffers.sequences.set([0, 1]);
  buffers.outputs.set([1, 1]);
  const rows: number[][] = [];
  const take = () => {
    const [token, best] = [buffers.topTokens[0]!, buffers.topTokens[1]!];
    rows.push([...buffers.sampled.subarray(0, 2), token, best, Math.round(buffers.logprobs[0]! * 100)]);
  };
  for (let position = 0; rows.length < count; position++) {
    buffers.positions.set([position, position]);
    await context.step(2, ahead);
    take();
    for (; context.runsAhead(); position++) {
      await context.next(ahead && rows.length + 1 < count);
      take();
    }
    buffers.tokens.set(buffers.sampled.subarray(0, 2));
  }
  return rows;
}

test.serial("steps that run ahead sample what steps one by one do, and keep the context busy", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  const expected = await decodeBoth(context, endless(native), 40, false);
  t.deepEqual(await decodeBoth(context, endless(native), 40, true), expected);
  t.throws(() => context.next(false), { message: /no step runs ahead/ });

  // Held before it has ended, a step is the last one; what had begun by then must be asked for.
  for (const sequence of [0, 1]) context.removeTokens(sequence, -1, -1);
  const buffers = context.buffers();
  buffers.tokens.set([300, 301]);
  buffers.positions.set([0, 0]);
  await context.step(2, true);
  t.true(context.runsAhead());
  t.throws(() => context.step(2), { message: /a step is running/ });
  t.throws(() => context.removeTokens(0, -1, -1), { message: /a step is running/ });
  t.deepEqual([...buffers.sampled.subarray(0, 2)], expected[0]!.slice(0, 2));
  const running = context.next(true);
  context.hold();
  t.throws(() => context.next(false), { message: /no step runs ahead/ });
  t.is(await running, 2);
  t.deepEqual([...buffers.sampled.subarray(0, 2)], expected[1]!.slice(0, 2));
  while (context.runsAhead()) await context.next(false); // it may have gone on before it was held
  t.true(context.stepMs() > 0);
  t.true(context.removeTokens(0, 0, -1));
  context.dispose();
  await llama.dispose();
});

test.serial("no step runs ahead of an answer's end, of prompts and of guesses", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, { ...options, draftTokens: 2 });
  const buffers = context.buffers();
  const end = native.endOfGenerationTokens()[0]!;
  context.setSampler(0, { ...greedy, logitBias: [[end, 100]] }, new Int32Array(), -1);
  put(context, 300, 0, 1);
  await context.step(1, true);
  t.is(buffers.sampled[0], end);
  t.false(context.runsAhead());
  context.setSampler(0, endless(native), new Int32Array(), -1);
  for (const [position, outputs] of [
    [1, [0, 1]],
    [3, [1, 1]],
    [5, [2, 1]],
  ] as const) {
    buffers.tokens.set([300, 301]);
    buffers.positions.set([position, position + 1]);
    buffers.sequences.set([0, 0]);
    buffers.outputs.set(outputs);
    buffers.targets.set([301]);
    await context.step(2, true);
    t.false(context.runsAhead());
    context.removeTokens(0, position + 2, -1);
  }
  context.dispose();
  await llama.dispose();
});

test.serial("a context can be disposed of while a step runs ahead, asked for or not", async (t) => {
  const { llama, addon, native } = await setUp();
  for (const asked of [false, true]) {
    const context = await addon.createContext(native, options);
    context.setSampler(0, endless(native), new Int32Array(), -1);
    put(context, 300, 0, 1);
    await context.step(1, true);
    t.true(context.runsAhead());
    const outcome = asked
      ? context.next(true).then(
          () => "done",
          (error) => error.code,
        )
      : "done";
    context.dispose();
    t.true(["done", "ABORTED"].includes(await outcome));
    t.throws(() => context.memory(), { message: /disposed/ });
  }
  await llama.dispose();
});

test.serial("guessed tokens are refused from the first wrong one on, and adapters need their scales", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, { ...options, batchTokens: 64, draftTokens: 4 });
  const prompt = await native.tokenize("1, 2, 3, 4,", true, true);
  const buffers = context.buffers();
  const decode = async (tokens: readonly number[], position: number, firstOutput: number) => {
    for (const [i, token] of tokens.entries()) {
      buffers.tokens[i] = token;
      buffers.positions[i] = position + i;
      buffers.sequences[i] = 0;
      buffers.outputs[i] = i >= firstOutput ? 1 : 0;
    }
    return [...buffers.sampled.subarray(0, await context.step(tokens.length))];
  };
  context.setSampler(0, greedy, new Int32Array(), -1);
  const [first] = await decode([...prompt], 0, prompt.length - 1);
  const right: number[] = [];
  for (let token = first!, i = 0; i < 4; i++) {
    [token] = (await decode([token], prompt.length + i, 0)) as [number];
    right.push(token);
  }
  context.removeTokens(0, prompt.length, -1);
  t.deepEqual((await decode([first!, ...right], prompt.length, 0)).slice(0, 4), right);
  context.removeTokens(0, prompt.length, -1);
  const wrong = [first!, right[0]!, right[1]! + 1, right[2]!, right[3]!];
  t.deepEqual(await decode(wrong, prompt.length, 0), [right[0]!, right[1]!, -1, -1, -1]);
  // One for each of two sequences, four drafted ones, and 32 scored prompt tokens.
  const tooMany = () => decode(new Array(39).fill(1), prompt.length + 5, 0);
  await t.throwsAsync(tooMany(), { message: /more outputs/ });
  for (const scales of [[1], "x", undefined, { length: 0 }]) {
    t.throws(() => context.setAdapters(scales as number[]), { message: /one scale for each of 0 adapters/ });
  }
  context.setAdapters([]);
  const path = await writeLora();
  t.is(await native.loadAdapter(path), 0);
  t.throws(() => context.setAdapters([]), { message: /1 adapters/ });
  t.throws(() => context.setAdapters([Number.NaN]), { message: /not a number/ });
  context.setAdapters([0.5]);
  await t.throwsAsync(native.loadAdapter(`${path}.none`), { message: /failed to open/ });
  await t.throwsAsync(native.loadAdapter(tinyChatPath), { message: /adapter/ });
  context.dispose();
  await llama.dispose();
});

test.serial("any batch is decoded or refused", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, { ...options, draftTokens: 4 });
  context.setSampler(0, greedy, new Int32Array(), -1);
  const buffers = context.buffers();
  const small = fc.oneof(fc.integer({ min: -2, max: 40 }), fc.integer());
  const entry = fc.record({
    token: small,
    position: small,
    sequence: fc.integer({ min: -1, max: 2 }),
    output: fc.integer({ min: 0, max: 2 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 32 }), fc.integer({ min: -1, max: 40 }), async (entries, count) => {
      entries.forEach((value, i) => {
        buffers.tokens[i] = value.token;
        buffers.positions[i] = value.position;
        buffers.sequences[i] = value.sequence;
        buffers.outputs[i] = value.output;
      });
      try {
        await context.step(count);
      } catch (error) {
        t.true(error instanceof Error);
      }
      context.removeTokens(0, -1, -1);
      context.removeTokens(1, -1, -1);
    }),
    { numRuns: 3000 },
  );
  context.dispose();
  await llama.dispose();
});

const unconstrained: NativeConstraint = {
  kind: "none",
  grammar: "",
  lazy: false,
  triggers: [],
  generationPrompt: "",
  thinkingStartTag: "",
  thinkingEndTags: [],
  budgetTokens: -1,
  budgetMessage: "",
};

test.serial("a prepared sampler keeps to its grammar and serves once; a bad grammar is an error", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  const prompt = await native.tokenize("1, 2, 3,", true, true);
  const grammar = 'root ::= "yes" | "no"';
  const sampler = await addon.prepareSampler(native, greedy, { ...unconstrained, kind: "user", grammar });
  context.setSampler(0, sampler, prompt, -1);
  t.throws(() => context.setSampler(1, sampler, prompt, -1), { message: /used already/ });
  const pieces = native.pieces(false);
  const end = new Set(native.endOfGenerationTokens());
  const buffers = context.buffers();
  for (let i = 0; i < prompt.length - 1; i++) {
    put(context, prompt[i]!, i);
    await context.step(1);
  }
  let text = "";
  let position = prompt.length - 1;
  for (let token = prompt[position]!; !end.has(token); token = buffers.sampled[0]!) {
    text += Buffer.from(pieces.bytes.subarray(pieces.offsets[token], pieces.offsets[token + 1])).toString();
    put(context, token, position++, 1);
    await context.step(1);
  }
  t.regex(text, /^,(yes|no)$/);
  await t.throwsAsync(addon.prepareSampler(native, greedy, { ...unconstrained, kind: "user", grammar: "root ::= (" }), {
    message: /expecting .\)/,
  });
  context.dispose();
  await llama.dispose();
});

test.serial("log-probabilities are the softmax of the raw logits, whatever bias and settings say", async (t) => {
  const { llama, addon, native } = await setUp();
  const context = await addon.createContext(native, options);
  const buffers = context.buffers();
  const row = async (sampling: Sampling, sequence: number) => {
    context.setSampler(sequence, sampling, new Int32Array(), 20);
    put(context, 300, 0, 1, sequence);
    await context.step(1);
    const tokens = [...buffers.topTokens.slice(0, 21)];
    return { sampled: buffers.sampled[0]!, tokens, logprobs: [...buffers.logprobs.slice(0, 21)] } as const;
  };
  const plain = await row(greedy, 0);
  t.is(plain.tokens[0], plain.sampled);
  t.is(plain.tokens[1], plain.sampled);
  t.is(plain.logprobs[0], plain.logprobs[1]);
  const top = plain.logprobs.slice(1);
  t.deepEqual(
    top,
    top.toSorted((a, b) => b - a),
  );
  t.true(top.reduce((sum, logprob) => sum + Math.exp(logprob), 0) <= 1.0001);
  const banned = await row({ ...greedy, logitBias: [[plain.sampled, Number.NEGATIVE_INFINITY] as const] }, 1);
  t.deepEqual(banned.logprobs.slice(1), top);
  t.is(banned.sampled, plain.tokens[2]!);
  t.is(banned.logprobs[0]!, top[1]!);
  context.dispose();
  await llama.dispose();
});

test.serial("a text may come in slices of its UTF-8, which may part characters; nothing else is taken", async (t) => {
  const { llama, native } = await setUp();
  const text = "Ä <|im_start|>user\n中😀".repeat(50);
  const bytes = Buffer.from(text);
  const slices = [bytes.subarray(0, 1), bytes.subarray(1, 400), new Uint8Array(0), bytes.subarray(400)];
  t.deepEqual(await native.tokenize(slices, true, true), await native.tokenize(text, true, true));
  t.is((await native.tokenize([], false, true)).length, 0);
  for (const wrong of [["a"], [new Uint16Array(2)], 5, {}]) {
    t.throws(() => native.tokenize(wrong as never, true, true), { message: /text/ });
  }
  await llama.dispose();
});

test.serial(
  "a text of many special tokens has the tokens of its parts, and takes time by its length alone",
  async (t) => {
    t.timeout(60_000);
    const { llama, native } = await setUp();
    const part = "a <|im_start|>user\nÄ\n<|im_end|> \n<think><tool_call>b";
    const tokens = Array.from(await native.tokenize(`${part}<|im_end|>`, false, true));
    const many = await native.tokenize(`${part}<|im_end|>`.repeat(20_000), false, true);
    t.deepEqual(Array.from(many), Array.from({ length: 20_000 }, () => tokens).flat());
    const plain = `${part}\n`.repeat(300);
    for (const parse of [true, false]) {
      const around = Array.from(await native.tokenize(plain, true, parse));
      const lines = await Promise.all(Array.from({ length: 300 }, () => native.tokenize(`${part}\n`, false, parse)));
      const begin = Array.from(await native.tokenize("", true, parse));
      t.deepEqual(around, [...begin, ...lines.flatMap((line) => Array.from(line))]);
    }
    await llama.dispose();
  },
);
