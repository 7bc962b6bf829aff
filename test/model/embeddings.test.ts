// Embeddings and reranking on the tiny models: against node-llama-cpp's own contexts, alone against in a batch, what the addon
// refuses, and the whole program with the official client.
import { setMaxListeners } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { getLlama, LlamaLogLevel, type LlamaModel } from "node-llama-cpp";
import OpenAI from "openai";
import { writeGguf } from "../../src/bench/gguf-writer.ts";
import { randomModel } from "../../src/bench/random-model.ts";
import { shapes } from "../../src/bench/shapes.ts";
import type { NativeContextOptions, NativeModel } from "../../src/engine/addon.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { packageRoot } from "../../src/paths.ts";
import { collect, request } from "../helpers/requests.ts";
import { processKey, startCli, startDemo } from "../helpers/server-process.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";

const file = (name: string) => join(packageRoot, "models", `${name}.gguf`);
const paths = { embedding: file("tiny-embed"), rerank: file("tiny-rerank") };

const texts = [
  "The cat sleeps in the house.",
  "A dog eats meat.",
  "It is raining today and the wind is cold.",
  "She plays the piano every evening.",
  "money",
  `${"The train to Paris is late. ".repeat(30)}`,
];
const query = "What does a cat eat?";
const documents = [
  "A cat eats fish.",
  "The sky is blue.",
  "A dog eats meat.",
  "Paris is the capital of France.",
  "A cat is grey.",
];

const options: NativeContextOptions = {
  contextTokens: 512,
  batchTokens: 512,
  microBatchTokens: 512,
  sequences: 8,
  threads: 1,
  flashAttention: "auto",
  keyType: "f16",
  valueType: "f16",
  unified: true,
};

const alive = new AbortController().signal;
setMaxListeners(0, alive); // Every call here has it.
const folder = await mkdtemp(join(tmpdir(), "embeddings-"));
test.after.always(() => rm(folder, { recursive: true }));

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, lengthA, lengthB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    lengthA += a[i]! ** 2;
    lengthB += b[i]! ** 2;
  }
  return dot / Math.sqrt(lengthA * lengthB);
}

const loadLlama = () => getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
const nativeOf = (addon: ReturnType<typeof loadAddon>, model: LlamaModel): NativeModel =>
  new addon.Model((model as unknown as { _model: unknown })._model);

test.serial("vectors point where node-llama-cpp's do, alone and in a batch", async (t) => {
  const llama = await loadLlama();
  const model = await llama.loadModel({ modelPath: paths.embedding });
  const peer = await model.createEmbeddingContext({ contextSize: 512, batchSize: 512, threads: 1 });
  const expected: (readonly number[])[] = [];
  for (const text of texts) expected.push((await peer.getEmbeddingFor(text)).vector);
  await model.dispose();
  await llama.dispose();

  const { engine } = await loadTinyEngine({}, { vectorModels: paths });
  const { embedder } = engine;
  const inputs = await Promise.all(texts.map((text) => embedder!.tokenize(text, true, true)));
  const together = await embedder!.embed(inputs, alive);
  for (const [index, vector] of together.entries()) {
    t.is(vector.length, 64);
    t.true(cosine(vector, expected[index]!) > 0.999, `${texts[index]}: ${cosine(vector, expected[index]!)}`);
    const [alone] = await embedder!.embed([inputs[index]!], alive);
    t.true(cosine(vector, alone!) > 0.99999, texts[index]!);
  }
  await engine.dispose();
});

test.serial("documents rank as node-llama-cpp's context ranks them", async (t) => {
  const llama = await loadLlama();
  const model = await llama.loadModel({ modelPath: paths.rerank });
  const peer = await model.createRankingContext({ contextSize: 512, batchSize: 512, threads: 1 });
  const expected = await peer.rankAll(query, documents);
  await model.dispose();
  await llama.dispose();

  const { engine } = await loadTinyEngine({}, { vectorModels: paths });
  const { reranker } = engine;
  t.false(reranker!.probabilities);
  const pairs = await reranker!.tokenizePairs(query, documents);
  const scores = await reranker!.rank(pairs, alive);
  const order = (values: readonly number[]) => values.map((_, index) => index).sort((a, b) => values[b]! - values[a]!);
  t.deepEqual(order(scores), order(expected));
  for (const [index, score] of scores.entries())
    t.true(Math.abs(1 / (1 + Math.exp(-score)) - expected[index]!) < 1e-3, documents[index]!);
  await engine.dispose();
});

test.serial("a pair that is too long ends the pairs: the query is not read again for each document", async (t) => {
  t.timeout(60_000);
  const { engine } = await loadTinyEngine({}, { vectorModels: paths });
  const reranker = engine.reranker!;
  const { contextTokens } = reranker.model;
  const alone = await Promise.all(documents.map((document) => reranker.tokenizePairs(query, [document])));
  t.deepEqual(await reranker.tokenizePairs(query, documents), alone.flat());
  const long = "cat ".repeat(contextTokens);
  const pairs = await reranker.tokenizePairs(query, [documents[0]!, long, ...documents]);
  t.deepEqual(
    pairs.map(({ length }) => length > contextTokens),
    [false, true],
  );
  t.is((await reranker.tokenizePairs("cat ".repeat(200_000), new Array(1024).fill("a cat"))).length, 1);
  await engine.dispose();
});

test.serial("many calls at once each get their own answers, and those that are given up none", async (t) => {
  const { engine } = await loadTinyEngine({}, { vectorModels: paths });
  const embedder = engine.embedder!;
  const inputs = await Promise.all(texts.map((text) => embedder.tokenize(text, true, true)));
  const alone = await embedder.embed(inputs, alive);
  const leaving = new AbortController();
  const gone = t.throwsAsync(embedder.embed(new Array(500).fill(inputs[5]), leaving.signal), { message: "left" });
  const calls = Array.from({ length: 20 }, (_, call) =>
    embedder.embed(inputs.slice(call % inputs.length), new AbortController().signal),
  );
  leaving.abort(new Error("left"));
  await gone;
  for (const [call, rows] of (await Promise.all(calls)).entries()) {
    const expected = alone.slice(call % inputs.length);
    t.is(rows.length, expected.length);
    for (const [index, row] of rows.entries()) t.true(cosine(row, expected[index]!) > 0.99999);
  }
  const under = embedder.embed(inputs, alive);
  const disposed = engine.dispose();
  await under.catch((error) => t.is(error.kind, "draining"));
  await disposed;
  await t.throwsAsync(embedder.embed(inputs, alive), { message: /shutting down/ });
});

test.serial("one batch decodes as many inputs as it has places and tokens for", async (t) => {
  const { engine, heartbeat } = await loadTinyEngine({ UBATCH: "256" }, { vectorModels: paths });
  let batches = 0;
  const step = heartbeat.step.bind(heartbeat);
  heartbeat.step = (tokens) => {
    batches++;
    step(tokens);
  };
  const counted = async (work: Promise<unknown>) => {
    batches = 0;
    await work;
    return batches;
  };
  const inputs = (count: number, length: number) => Array.from({ length: count }, () => new Int32Array(length).fill(5));
  const embed = (count: number, length: number) =>
    engine.embedder!.embed(inputs(count, length), new AbortController().signal);
  t.is(await counted(embed(64, 4)), 1);
  t.is(await counted(embed(65, 3)), 2, "64 places");
  t.is(await counted(embed(16, 32)), 2, "256 tokens");
  t.is(await counted(Promise.all(Array.from({ length: 32 }, () => embed(2, 4)))), 1, "of several calls");
  t.is(await counted(engine.reranker!.rank(inputs(40, 6), alive)), 1);
  await engine.dispose();
});

/** A random chat model that says how to pool, as llama.cpp numbers the ways. */
async function makePooling(type: number): Promise<string> {
  const model = randomModel("pooling", shapes.tiny, 1);
  const path = join(folder, `pooling-${type}.gguf`);
  const metadata = { ...model.metadata, "llama.pooling_type": { type: "uint32", value: type } } as const;
  await writeGguf(path, { ...model, metadata });
  return path;
}

const [mean, last] = [1, 3];

test.serial("a main model that pools embeds besides generating, the same in passes of any size", async (t) => {
  for (const type of [mean, last]) {
    const modelPath = await makePooling(type);
    const vectors: Float32Array[][] = [];
    for (const UBATCH of ["64", "512"]) {
      const { engine } = await loadTinyEngine({ UBATCH, BATCH: "512" }, { modelPath });
      const embedder = engine.embedder!;
      t.is(embedder.model.name, engine.model.name);
      t.is(embedder.model.contextTokens, 1024);
      t.is(engine.reranker, null);
      const inputs = [300, 10, 1024, 64, 65].map((length) => Int32Array.from({ length }, (_, i) => (i * 7) % 250));
      const rows = await embedder.embed(inputs, alive);
      for (const [index, input] of inputs.entries())
        t.true(cosine(rows[index]!, (await embedder.embed([input], alive))[0]!) > 0.999);
      vectors.push(rows);
      const answer = await collect(engine.generate(request([1, 2, 3], { maxTokens: 3 })));
      t.is(answer.finish.usage.completionTokens, 3);
      await engine.dispose();
    }
    for (const [index, row] of vectors[0]!.entries())
      t.true(cosine(row, vectors[1]![index]!) > 0.999, `pooling ${type}, input ${index}`);
    t.true(cosine(vectors[0]![0]!, vectors[0]![2]!) < 0.999, "different inputs, different vectors");
  }
});

test.serial("the addon refuses what is not a batch, and works on", async (t) => {
  const llama = await loadLlama();
  const addon = loadAddon();
  const model = await llama.loadModel({ modelPath: paths.embedding });
  const native = nativeOf(addon, model);
  t.deepEqual(addon.describePooling(native), { type: "mean", causal: false, splits: false, probabilities: false });
  const context = await addon.createEmbeddingContext(native, options);
  t.deepEqual(context.describe(), { width: 64, batchTokens: 512, inputTokens: 512 });
  const good = [Int32Array.of(2, 5, 6)];
  const refused = (inputs: unknown, message: RegExp) =>
    t.throws(() => context.embed(inputs as Int32Array[]), { message });
  refused(undefined, /are an array/);
  refused([Float32Array.of(1)], /an Int32Array/);
  refused([], /1 to n_seq_max/);
  refused(new Array(9).fill(good[0]), /1 to n_seq_max/);
  refused([new Int32Array()], /1 to 512 tokens/);
  refused([new Int32Array(513)], /1 to 512 tokens/);
  refused([new Int32Array(400), new Int32Array(400)], /more tokens than one batch/);
  refused([Int32Array.of(-1)], /vocabulary/);
  refused([Int32Array.of(1856)], /vocabulary/);
  const running = context.embed(good);
  refused(good, /is running/);
  t.is((await running).length, 64);
  const inputs = fc.array(fc.int32Array({ min: -2, max: 1860, minLength: 0, maxLength: 40 }), { maxLength: 10 });
  await fc.assert(
    fc.asyncProperty(inputs, async (batch) => {
      let rows: Promise<Float32Array>;
      try {
        rows = context.embed(batch);
      } catch (error) {
        return error instanceof Error;
      }
      return (await rows).length === batch.length * 64;
    }),
    { numRuns: 200 },
  );
  const late = context.embed([new Int32Array(512).fill(7)]);
  context.dispose();
  context.dispose();
  await late.then(
    (rows) => t.is(rows.length, 64),
    (error: Error) => t.regex(error.message, /disposed/),
  );
  refused(good, /disposed/);
  await model.dispose();
  await llama.dispose();
});

test.serial("a chat model has nothing to pool", async (t) => {
  const llama = await loadLlama();
  const addon = loadAddon();
  const model = await llama.loadModel({ modelPath: file("tiny-chat") });
  const native = nativeOf(addon, model);
  t.like(addon.describePooling(native), { type: "none", causal: true });
  await t.throwsAsync(addon.createEmbeddingContext(native, options), { message: /how to pool/ });
  await model.dispose();
  await llama.dispose();
  const { engine } = await loadTinyEngine();
  t.is(engine.embedder, null);
  t.is(engine.reranker, null);
  await engine.dispose();
});

test("the program serves three models side by side", async (t) => {
  const env = { EMBEDDING_MODEL_PATH: paths.embedding, RERANK_MODEL_PATH: paths.rerank };
  const { client, port } = await startDemo(t, env);
  const { data } = await client.models.list();
  t.deepEqual(
    data.map(({ id }) => id),
    ["tiny-chat", "tiny-embed", "tiny-rerank"],
  );
  t.is((await client.models.retrieve("tiny-embed")).id, "tiny-embed");
  const input = ["a dog", "a cat", "the weather"];
  const encoded = await client.embeddings.create({ model: "tiny-embed", input });
  const numbers = await client.embeddings.create({ model: "tiny-embed", input, encoding_format: "float" });
  t.deepEqual(encoded.data, numbers.data);
  t.is(encoded.model, "tiny-embed");
  const [dog, cat, weather] = encoded.data.map(({ embedding }) => embedding);
  t.true(cosine(dog!, cat!) > cosine(dog!, weather!));
  t.is((await client.embeddings.create({ model: "x", input: "a dog", dimensions: 16 })).data[0]!.embedding.length, 16);
  const tooLong = client.embeddings.create({ model: "x", input: ["a", "cat ".repeat(600)] });
  const error = await t.throwsAsync(tooLong, { instanceOf: OpenAI.BadRequestError });
  t.like(error, { code: "context_length_exceeded", param: "input[1]" });
  const answer = await fetch(`http://127.0.0.1:${port}/v1/rerank`, {
    method: "POST",
    headers: { Authorization: `Bearer ${processKey}` },
    body: JSON.stringify({ query, documents, top_n: 1 }),
  });
  const { results } = (await answer.json()) as { results: { index: number; relevance_score: number }[] };
  t.deepEqual(
    results.map(({ index }) => index),
    [0],
  );
  t.is(
    (await client.chat.completions.create({ model: "x", messages: [{ role: "user", content: "Hello" }] })).model,
    "tiny-chat",
  );
});

test("a main model that only reads is served for what it can do", async (t) => {
  const { client } = await startDemo(t, { MODEL_PATH: paths.embedding });
  const { data } = await client.embeddings.create({ model: "x", input: "a dog" });
  t.is(data[0]!.embedding.length, 64);
  const chat = client.chat.completions.create({ model: "x", messages: [{ role: "user", content: "Hello" }] });
  const error = await t.throwsAsync(chat, { instanceOf: OpenAI.BadRequestError });
  t.like(error, { code: "unsupported_model", param: "model" });
});

test("a chat model alone embeds nothing, also where one is named for it", async (t) => {
  const { client, process } = await startDemo(t, { EMBEDDING_MODEL_PATH: file("tiny-chat") });
  t.regex(process.output, /warn EMBEDDING_MODEL_PATH: the model pools nothing/);
  const error = await t.throwsAsync(client.embeddings.create({ model: "x", input: "a dog" }));
  t.like(error, { code: "unsupported_model" });
  t.is((await client.models.list()).data.length, 1);
});

test("a file that is missing or no model ends the start with code 2 and names the variable", async (t) => {
  for (const variable of ["EMBEDDING_MODEL_PATH", "RERANK_MODEL_PATH"]) {
    const missing = await startCli(t, { [variable]: "/nonexistent/model.gguf" });
    t.is((await missing.process.ended).code, 2);
    t.regex(missing.process.output, new RegExp(`error ${variable}: /nonexistent/model.gguf: there is no such file`));
    const text = await startCli(t, { [variable]: join(packageRoot, "package.json") });
    t.is((await text.process.ended).code, 2);
    t.regex(text.process.output, new RegExp(`error ${variable}: .*not a GGUF file`));
  }
});
