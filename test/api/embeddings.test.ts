// POST /v1/embeddings over the mock engine, with the official client.
import test from "ava";
import OpenAI from "openai";
import { writeReply } from "../../src/api/embeddings.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { gate, startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { jsonOf, startServer, testKey, testKeys, withKey } from "../helpers/server.ts";

const length = (vector: readonly number[]) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));

test("base64, which the client asks for by itself, and numbers are the same vector, of length 1", async (t) => {
  const { client, post } = await startMockApi(t);
  const encoded = await client.embeddings.create({ model: "any", input: "hello" });
  const numbers = await client.embeddings.create({ model: "any", input: "hello", encoding_format: "float" });
  t.deepEqual(encoded.data, numbers.data);
  t.is(encoded.data[0]!.embedding.length, 8);
  t.true(Math.abs(length(encoded.data[0]!.embedding) - 1) < 1e-6);
  const plain = await post("/v1/embeddings", { input: "hello" });
  t.is(plain.headers.get("content-type"), "application/json; charset=utf-8");
  const body = await jsonOf(plain);
  t.deepEqual(Object.keys(body), ["object", "model", "data", "usage"]);
  t.deepEqual(body.data, numbers.data);
  t.is(body.model, "served");
  t.deepEqual(body.usage, { prompt_tokens: 6, total_tokens: 6 });
});

test("many inputs come back in their order, and each as if it were alone", async (t) => {
  const { client } = await startMockApi(t);
  const inputs = Array.from({ length: 2048 }, (_, index) => `text number ${index}`);
  const { data, usage } = await client.embeddings.create({ model: "any", input: inputs });
  t.deepEqual(
    data.map(({ index }) => index),
    inputs.map((_, index) => index),
  );
  t.is(
    usage.prompt_tokens,
    inputs.reduce((sum, text) => sum + text.length + 1, 0),
  );
  for (const index of [0, 1000, 2047]) {
    const alone = await client.embeddings.create({ model: "any", input: inputs[index]! });
    t.deepEqual(data[index]!.embedding, alone.data[0]!.embedding);
  }
});

test("between two turns of the loop only so many numbers are written", (t) => {
  const vectors = (count: number, width: number) =>
    Array.from({ length: count }, () => new Float32Array(width).fill(0.5));
  for (const [count, width] of [
    [100, 4096],
    [5000, 8],
    [4, 30_000],
  ] as const) {
    const form = { base64: false, dimensions: width, norm: -1 };
    let numbers = 0;
    let longest = 0;
    let text = "";
    for (const piece of writeReply(vectors(count, width), form, { modelName: "m", promptTokens: 1 })) {
      numbers = piece === null ? 0 : numbers + piece.split("0.5").length - 1;
      longest = Math.max(longest, numbers);
      text += piece ?? "";
    }
    t.true(longest < 10_000 + width, `${longest}`);
    t.is(JSON.parse(text).data.length, count);
  }
});

test("token ids are taken as they are", async (t) => {
  const { client } = await startMockApi(t);
  const text = await client.embeddings.create({ model: "any", input: "ab" });
  const tokens = await client.embeddings.create({ model: "any", input: [1, 97 + 3, 98 + 3] });
  t.deepEqual(tokens.data, text.data);
  const both = await client.embeddings.create({ model: "any", input: [[1, 97 + 3, 98 + 3], [5]] });
  t.deepEqual(both.data[0], text.data[0]);
  t.is(both.usage.prompt_tokens, 4);
});

test("a shorter vector is the first part of the long one, with length 1 again", async (t) => {
  const { client } = await startMockApi(t);
  const long = (await client.embeddings.create({ model: "any", input: "hello" })).data[0]!.embedding;
  const short = (await client.embeddings.create({ model: "any", input: "hello", dimensions: 3 })).data[0]!.embedding;
  const first = long.slice(0, 3);
  t.is(short.length, 3);
  for (const [index, value] of short.entries()) t.true(Math.abs(value - first[index]! / length(first)) < 1e-6);
});

test("mistakes arrive as the client's own error class", async (t) => {
  const { client } = await startMockApi(t, { contextTokens: 16 });
  const refused = (params: Partial<OpenAI.EmbeddingCreateParams>) =>
    t.throwsAsync(client.embeddings.create({ model: "any", input: "x", ...params }), {
      instanceOf: OpenAI.BadRequestError,
    });
  t.like(await refused({ input: "" }), { code: "string_below_min_length", param: "input" });
  t.like(await refused({ input: [] }), { code: "array_below_min_length", param: "input" });
  t.like(await refused({ dimensions: 9 }), { code: "integer_above_max_value", param: "dimensions" });
  const tooLong = await refused({ input: ["short", "much too long for this"] });
  t.like(tooLong, { code: "context_length_exceeded", param: "input[1]" });
  t.regex(tooLong!.message, /^400 input\[1\] is too large: .* exceeds the available context size/);
  t.like(tooLong?.error, { n_prompt_tokens: 23, n_ctx: 16 });
});

test("a server whose models cannot embed says so", async (t) => {
  const { client } = await startMockApi(t, { vectors: false });
  const error = await t.throwsAsync(client.embeddings.create({ model: "any", input: "x" }), {
    instanceOf: OpenAI.BadRequestError,
  });
  t.like(error, { code: "unsupported_model", param: "model" });
});

test("fields without effect are reported", async (t) => {
  const { post } = await startMockApi(t);
  const answer = await post("/v1/embeddings", { input: "x", user: "u", truncate: "END" });
  t.is(answer.headers.get("x-ignored-parameters"), "truncate");
});

test("REQUEST_TIMEOUT ends a call with 504", async (t) => {
  const never = gate();
  const { post } = await startMockApi(t, { vectors: () => never.promise }, { REQUEST_TIMEOUT: "0.05" });
  const answer = await post("/v1/embeddings", { input: "x" });
  t.is(answer.status, 504);
  t.is((await jsonOf(answer)).error.code, "request_timeout");
});

test("a client that leaves ends its work", async (t) => {
  const leaving = new AbortController();
  const begun = gate();
  const never = gate();
  const { post, server } = await startMockApi(t, {
    vectors: () => {
      begun.open();
      return never.promise;
    },
  });
  const call = post("/v1/embeddings", { input: "x" }, { signal: leaving.signal });
  const left = t.throwsAsync(call, { name: "AbortError", any: true });
  await begun.promise;
  t.is(server.parts.heartbeat.openCalls, 1);
  leaving.abort();
  await left;
  await until(() => server.parts.heartbeat.openCalls === 0);
  t.pass();
});

test("inputs count against the key's tokens per minute", async (t) => {
  const engine = createMockEngine({ name: "served" });
  const keys = testKeys(`test:${testKey}:100/20`);
  const server = await startServer({ engine: () => engine, keys });
  t.teardown(server.close);
  const embed = (input: string[]) =>
    fetch(`${server.url}/v1/embeddings`, { method: "POST", headers: withKey, body: JSON.stringify({ input }) });
  // A token for each byte and one before each text.
  const first = await embed(["abc", "abcdefg"]);
  t.is(first.status, 200);
  t.is(first.headers.get("x-ratelimit-remaining-tokens"), "8");
  const second = await embed(["abcdefgh"]);
  t.is(second.status, 429);
  t.is((await jsonOf(second)).error.code, "rate_limit_exceeded");
  const third = await embed(["more than the key has in any minute"]);
  t.is(third.status, 400);
  t.is((await jsonOf(third)).error.code, "request_exceeds_token_quota");
  t.is((await embed(["abcdefg"])).status, 200);
});

test("calls beyond MAX_CONCURRENT_REQUESTS wait for their turn", async (t) => {
  const held = gate();
  const { post, server } = await startMockApi(t, { maxConcurrentRequests: 1, vectors: () => held.promise });
  const { heartbeat } = server.parts;
  const first = post("/v1/embeddings", { input: "a" });
  await until(() => heartbeat.activeRequests === 1);
  const second = post("/v1/rerank", { query: "q", documents: ["a"] });
  await until(() => heartbeat.queuedRequests === 1);
  held.open();
  t.is((await first).status, 200);
  t.is((await second).status, 200);
  await until(() => heartbeat.activeRequests === 0);
});
