// The real engine on tiny-chat: same tokens as node-llama-cpp alone and batched, chat, limits, cancellation.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as tick } from "node:timers/promises";
import test from "ava";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { Failure } from "../../src/errors.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { type Answer, collect, greedy, request } from "../helpers/requests.ts";
import { loadTinyEngine, tinyChatPath } from "../helpers/tiny-engine.ts";

const prompts = [
  "Once upon a time",
  "1, 2, 3, 4,",
  "The capital of France is",
  "The cat",
  "Hello",
  "A dragon lived",
  "One day John",
  "The weather in Paris",
  "def add(a, b):",
  "I saw the moon",
  "What is a fox?",
  "red, green,",
  "Mia and the",
  "The wind is",
  "My name is",
  '{"name": "cow"',
  "Suddenly it began",
  "Who are you?",
  "3 + 4 =",
  "Привет",
];
const maxTokens = 40;
/** Flash attention on a CPU sums in 16 bits, so an answer may depend on how its prompt was cut, and that on how long steps take. */
const exact = { FLASH_ATTN: "off" };

async function ask(engine: Engine, text: string, overrides: Parameters<typeof request>[1] = {}): Promise<Answer> {
  const prompt = await engine.tokenize(text, true, true);
  return collect(engine.generate(request(prompt, { maxTokens, ...overrides })));
}

async function chat(engine: Engine, text: string): Promise<Answer> {
  const { tokens, answer } = await engine.renderChat({ messages: [{ role: "user", content: text }] });
  return collect(engine.generate(request(tokens, { maxTokens: 200, answer })));
}

function templateFile(source: string): string {
  const file = join(mkdtempSync(join(tmpdir(), "template-")), "chat.jinja");
  writeFileSync(file, source);
  return file;
}

/** What node-llama-cpp's own loop generates greedily: the tokens, end token included. */
async function peerTokens(): Promise<{ text: string; tokens: number }[]> {
  const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: tinyChatPath });
  const context = await model.createContext({ contextSize: 1024, threads: 1, sequences: 1 });
  const sequence = context.getSequence();
  const results = [];
  for (const prompt of prompts) {
    await sequence.clearHistory();
    const tokens: ReturnType<typeof model.tokenize> = [];
    for await (const token of sequence.evaluate(model.tokenize(prompt, true), {
      temperature: 0,
      yieldEogToken: true,
    })) {
      tokens.push(token);
      if (tokens.length === maxTokens || model.isEogToken(token)) break;
    }
    const text = model.detokenize(tokens.filter((token) => !model.isEogToken(token)));
    results.push({ text, tokens: tokens.length });
  }
  await model.dispose();
  await llama.dispose();
  return results;
}

test.serial("greedy answers equal node-llama-cpp's own loop, alone and batched", async (t) => {
  const { engine } = await loadTinyEngine();
  const expected = await peerTokens();
  const summary = (answer: Answer) => ({ text: answer.content, tokens: answer.finish.usage.completionTokens });
  const alone = [];
  for (const prompt of prompts) alone.push(summary(await ask(engine, prompt)));
  t.deepEqual(alone, expected);
  const batched = await Promise.all(prompts.map((prompt) => ask(engine, prompt)));
  t.deepEqual(batched.map(summary), expected);
  await engine.dispose();
});

test.serial("a prompt cut into chunks, and either KV layout, gives the same answer", async (t) => {
  const long = `${"The cat is grey. ".repeat(30)}Once upon a time`;
  const answers = [];
  for (const env of [{}, { BATCH: "32", UBATCH: "32" }, { KV_LAYOUT: "unified" }] as Record<string, string>[]) {
    const { engine } = await loadTinyEngine({ ...exact, ...env });
    const both = await Promise.all([ask(engine, long), ask(engine, "1, 2, 3, 4,")]);
    answers.push(both.map((answer) => answer.content));
    await engine.dispose();
  }
  t.deepEqual(answers[1], answers[0]);
  t.deepEqual(answers[2], answers[0]);
});

test.serial("a seeded sample repeats, another seed differs", async (t) => {
  const { engine } = await loadTinyEngine();
  const sample = (seed: number) => ask(engine, "Once upon a time", { sampling: { ...greedy, temperature: 1.2, seed } });
  const [first, again, other] = [await sample(7), await sample(7), await sample(8)];
  t.is(again.content, first.content);
  t.not(other.content, first.content);
  await engine.dispose();
});

test.serial("penalties and biases change the answer as they should", async (t) => {
  const { engine } = await loadTinyEngine();
  const plain = await ask(engine, "1, 2, 3, 4,");
  const penalised = await ask(engine, "1, 2, 3, 4,", {
    sampling: { ...greedy, frequencyPenalty: 2, presencePenalty: 2 },
  });
  t.not(penalised.content, plain.content);
  const [banned] = await engine.tokenize(" 5", false, false);
  const logitBias = [[banned!, Number.NEGATIVE_INFINITY]] as const;
  t.true(plain.content.startsWith(" 5"));
  for (const sampling of [
    { ...greedy, logitBias },
    { ...greedy, logitBias, repeatPenalty: 1.01 },
  ]) {
    t.false((await ask(engine, "1, 2, 3, 4,", { sampling })).content.startsWith(" 5"));
  }
  await engine.dispose();
});

test.serial("chat answers as the model's card says, reasoning split from content", async (t) => {
  const { engine } = await loadTinyEngine();
  const capital = await chat(engine, "What is the capital of Japan?");
  t.is(capital.reasoning, "The user asks for the capital of Japan.\n");
  t.is(capital.content, "The capital of Japan is Tokyo.");
  t.is(capital.finish.usage.completionTokens, 25);
  t.true(capital.finish.usage.reasoningTokens > 0 && capital.finish.usage.reasoningTokens < 25);
  t.is((await chat(engine, "Show me a rocket emoji.")).content, "🚀");
  await engine.dispose();
});

test.serial("an answer cut inside its reasoning keeps what was said", async (t) => {
  const { engine } = await loadTinyEngine();
  const { tokens, answer } = await engine.renderChat({ messages: [{ role: "user", content: "What is 5 plus 2?" }] });
  const whole = await collect(engine.generate(request(tokens, { maxTokens: 200, answer })));
  for (let limit = 1; limit <= whole.finish.usage.completionTokens; limit++) {
    const cut = await collect(engine.generate(request(tokens, { maxTokens: limit, answer })));
    t.true(whole.reasoning.startsWith(cut.reasoning), `${limit}: ${cut.reasoning}`);
    t.true(whole.content.startsWith(cut.content), `${limit}: ${cut.content}`);
  }
  await engine.dispose();
});

test.serial("a template that refuses the messages is the client's mistake", async (t) => {
  const file = templateFile(
    "{{ raise_exception('roles must alternate') if messages|length > 1 else messages[0].content }}",
  );
  const { engine } = await loadTinyEngine({ CHAT_TEMPLATE_FILE: file });
  const user = { role: "user", content: "Hello" } as const;
  const failure = await t.throwsAsync(engine.renderChat({ messages: [user, user] }), { instanceOf: Failure });
  t.is((failure as Failure).kind, "chat_template_error");
  t.is(failure!.message, "The chat template rejected the messages: roles must alternate");
  t.deepEqual((await engine.renderChat({ messages: [user] })).tokens, await engine.tokenize("Hello", true, true));
  await engine.dispose();
});

test.serial("a template file that does not parse is a start failure that names it", async (t) => {
  const file = templateFile("{% if broken");
  await t.throwsAsync(loadTinyEngine({ CHAT_TEMPLATE_FILE: file }), { message: /^CHAT_TEMPLATE_FILE .* can parse/ });
});

test.serial("a model without a chat template is served with ChatML, and the log says so", async (t) => {
  const { log, text } = capturedLog();
  const { engine } = await loadTinyEngine({}, { modelPath: await cachedModel("tiny"), log });
  t.regex(text(), /no chat template: ChatML is used/);
  const rendered = await engine.renderChat({ messages: [{ role: "user", content: "Hello" }] });
  t.is(Buffer.from(rendered.text).toString(), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  const { finish } = await collect(
    engine.generate(request(rendered.tokens, { answer: rendered.answer, maxTokens: 8 })),
  );
  t.true(finish.usage.completionTokens > 0);
  await engine.dispose();
});

test.serial("a request that keeps nothing leaves nothing to reuse", async (t) => {
  const { engine } = await loadTinyEngine();
  await ask(engine, "Once upon a time", { cacheScope: null });
  t.true(engine.slots().every((slot) => slot.cachedTokens === 0));
  await ask(engine, "Once upon a time");
  t.is((await ask(engine, "Once upon a time", { cacheScope: null })).finish.usage.cachedTokens, 0);
  await engine.dispose();
});

test.serial("generation that fills the context ends with length", async (t) => {
  const { engine } = await loadTinyEngine({ CTX: "256" });
  const prompt = await engine.tokenize("1, 2, 3, 4,", true, true);
  const room = 256 - prompt.length;
  const answer = await collect(engine.generate(request(prompt, { maxTokens: room })));
  t.is(answer.finish.reason, "length");
  t.is(answer.finish.usage.completionTokens, room);
  await engine.dispose();
});

test.serial("clients that leave in any phase leave the neighbours' answers as they were", async (t) => {
  const { engine } = await loadTinyEngine(exact);
  const expected = await ask(engine, "Once upon a time");
  const neighbour = ask(engine, "Once upon a time");
  for (let i = 0; i < 40; i++) {
    const controller = new AbortController();
    const leaver = ask(engine, "The cat is grey. ".repeat(10), { signal: controller.signal });
    for (let ticks = i % 8; ticks > 0; ticks--) await tick();
    controller.abort(new Error("client left"));
    await t.throwsAsync(leaver, { message: "client left" });
  }
  t.is((await neighbour).content, expected.content);
  while (engine.slots().some(({ state }) => state !== "idle")) await tick();
  t.is((await ask(engine, "Once upon a time")).content, expected.content);
  await engine.dispose();
});

test.serial(
  "a cached prompt beginning gives the answer of an uncached one, in place, by copy and for n at once",
  async (t) => {
    const long = `${"The cat is grey. ".repeat(20)}1, 2, 3, 4,`;
    const cold = await loadTinyEngine({ ...exact, PREFIX_CACHE: "false" });
    const expected = await ask(cold.engine, long);
    t.is((await ask(cold.engine, long)).finish.usage.cachedTokens, 0);
    await cold.engine.dispose();
    for (const env of [{}, { KV_LAYOUT: "unified" }] as Record<string, string>[]) {
      const { engine } = await loadTinyEngine({ ...exact, ...env });
      const first = await ask(engine, long);
      const second = await ask(engine, long);
      const prompt = first.finish.usage.promptTokens;
      t.is(second.finish.usage.cachedTokens, prompt - 1);
      const together = await Promise.all(Array.from({ length: 4 }, () => ask(engine, long)));
      for (const answer of [first, second, ...together]) t.is(answer.content, expected.content);
      t.true(together.every((answer) => answer.finish.usage.cachedTokens === prompt - 1));
      const stranger = await ask(engine, long, { cacheScope: "another key" });
      t.is(stranger.finish.usage.cachedTokens, 0);
      t.is(stranger.content, expected.content);
      await engine.dispose();
    }
    const shared = await loadTinyEngine({ PREFIX_CACHE_SCOPE: "shared" });
    await ask(shared.engine, long);
    t.true((await ask(shared.engine, long, { cacheScope: "another key" })).finish.usage.cachedTokens > 0);
    await shared.engine.dispose();
  },
);

test.serial(
  "a quantised KV cache is served: the card's answers, alone, beside others and with a cached beginning",
  async (t) => {
    for (const type of ["q8_0", "q4_0"]) {
      const { engine } = await loadTinyEngine({ KV_TYPE_K: type, KV_TYPE_V: type });
      const capital = await chat(engine, "What is the capital of Japan?");
      t.is(capital.content, "The capital of Japan is Tokyo.", type);
      const questions = ["What is the capital of Japan?", "Show me a rocket emoji.", "What is 5 plus 2?"];
      const [again, rocket] = await Promise.all(questions.map((question) => chat(engine, question)));
      t.is(again!.content, capital.content);
      t.is(rocket!.content, "🚀");
      const long = `${"The cat is grey. ".repeat(20)}1, 2, 3, 4,`;
      const [first, cached] = [await ask(engine, long), await ask(engine, long)];
      t.is(cached.content, first.content);
      t.true(cached.finish.usage.cachedTokens > 100);
      await engine.dispose();
    }
  },
);

test.serial("FIT=false refuses a context that does not fit, with the sizes that do", async (t) => {
  const huge = { CTX: "1048576", MAX_CONCURRENT_REQUESTS: "256", FIT: "false" };
  await t.throwsAsync(loadTinyEngine(huge), {
    message: /CTX=1048576 with MAX_CONCURRENT_REQUESTS=256 does not fit.*largest CTX.*largest concurrency/,
  });
});

test.serial("loading reports progress and can be abandoned; dispose can be called twice", async (t) => {
  const progress: number[] = [];
  const { engine } = await loadTinyEngine({}, { onProgress: (fraction) => progress.push(fraction) });
  t.is(progress.at(-1), 1);
  await Promise.all([engine.dispose(), engine.dispose()]);
  await t.throwsAsync(loadTinyEngine({}, { signal: AbortSignal.abort(new Error("stopped while loading")) }), {
    message: /stopped while loading/,
  });
});

test.serial("GPU=cuda without a GPU is a start failure that names the variable", async (t) => {
  const llama = await getLlama({ build: "never", skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const { gpu } = llama;
  await llama.dispose();
  if (gpu === "cuda") {
    t.log("skipped: there is a CUDA device here");
    return t.pass();
  }
  await t.throwsAsync(loadTinyEngine({ GPU: "cuda" }), { message: /GPU=cuda: no such device/ });
});
