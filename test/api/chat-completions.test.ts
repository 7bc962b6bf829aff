// /v1/chat/completions through the official client, over a real socket and the mock engine.
import test from "ava";
import type OpenAI from "openai";
import { APIError, BadRequestError, InternalServerError } from "openai";
import type { GenerationRequest } from "../../src/engine/engine.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { gate, startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";

const hello = {
  model: "any",
  messages: [{ role: "user", content: "Hello" }],
} satisfies OpenAI.ChatCompletionCreateParams;

const say = (...words: string[]) => words.map((text): MockStep => ({ text }));

/** Says its seed, one token at a time, so that choices differ. */
const sayChoice = ({ sampling }: GenerationRequest) => say("seed ", String(sampling.seed));

test("a plain answer", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("Hi", " there") });
  const { data, request_id } = await client.chat.completions.create(hello).withResponse();
  t.regex(data.id, /^chatcmpl-[A-Za-z0-9]{24}$/);
  t.like(data, { object: "chat.completion", model: "served", system_fingerprint: "b0-mock" });
  t.deepEqual(data.choices as unknown[], [
    {
      index: 0,
      message: { role: "assistant", content: "Hi there", refusal: null },
      logprobs: null,
      finish_reason: "stop",
    },
  ]);
  t.deepEqual(data.usage as unknown, {
    prompt_tokens: 24,
    completion_tokens: 3,
    total_tokens: 27,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  });
  t.truthy(request_id);
});

test("an answer is compact JSON with its type", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("é") });
  const response = await post("/v1/chat/completions", { ...hello, strange: 1, verbosity: "low" });
  t.is(response.headers.get("content-type"), "application/json; charset=utf-8");
  t.is(response.headers.get("x-ignored-parameters"), "strange, verbosity");
  const body = await response.text();
  t.is(body, JSON.stringify(JSON.parse(body)));
  t.true(body.includes('"content":"é"'));
});

test("a streamed answer has the same text, and usage only when asked", async (t) => {
  const { client } = await startMockApi(t);
  const whole = await client.chat.completions.create({ ...hello, temperature: 0 });
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  const stream = await client.chat.completions.create({ ...hello, temperature: 0, stream: true });
  for await (const chunk of stream) chunks.push(chunk);
  t.is(chunks.map((chunk) => chunk.choices[0]!.delta.content ?? "").join(""), whole.choices[0]!.message.content!);
  t.is(chunks.at(-1)!.choices[0]!.finish_reason, "stop");
  t.is(new Set(chunks.map(({ id }) => id)).size, 1);
  t.is(new Set(chunks.map(({ created }) => created)).size, 1);
  t.false(chunks.some((chunk) => "usage" in chunk));
  const counted = await client.chat.completions.create({
    ...hello,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  const usages: unknown[] = [];
  for await (const chunk of counted) usages.push(chunk.usage);
  t.deepEqual(usages.at(-1), whole.usage);
  t.true(usages.slice(0, -1).every((usage) => usage === null));
});

test("the client's own accumulator understands a stream with several choices", async (t) => {
  const { client } = await startMockApi(t, { script: sayChoice });
  const stream = client.chat.completions.stream({ ...hello, n: 3, seed: 7, stream_options: { include_usage: true } });
  const { choices, usage } = await stream.finalChatCompletion();
  t.deepEqual(
    choices.map(({ index, message, finish_reason }) => [index, message.content, finish_reason]),
    [
      [0, "seed 7", "stop"],
      [1, "seed 8", "stop"],
      [2, "seed 9", "stop"],
    ],
  );
  t.like(usage, { prompt_tokens: 24, completion_tokens: 9 });
});

test("several choices come ordered, each with its own seed, wrapping at 2^32", async (t) => {
  const { client } = await startMockApi(t, { script: sayChoice });
  const { choices, usage } = await client.chat.completions.create({ ...hello, n: 2, seed: 2 ** 32 - 1 });
  t.deepEqual(
    choices.map(({ index, message }) => [index, message.content]),
    [
      [0, `seed ${2 ** 32 - 1}`],
      [1, "seed 0"],
    ],
  );
  t.like(usage, { prompt_tokens: 24, completion_tokens: 6, total_tokens: 30 });
});

test("reasoning goes by the name of REASONING_FIELD", async (t) => {
  const script = (): MockStep[] => [{ text: "Hm", kind: "reasoning" }, { text: "Hi" }];
  const { client } = await startMockApi(t, { script }, { REASONING_FIELD: "both" });
  const answer = await client.chat.completions.create(hello);
  t.deepEqual(answer.choices[0]!.message as unknown, {
    role: "assistant",
    content: "Hi",
    refusal: null,
    reasoning_content: "Hm",
    reasoning: "Hm",
  });
  t.is(answer.usage?.completion_tokens_details?.reasoning_tokens, 1);
});

test("what crosses the seam: settings, limits, biases, the caller's cache scope", async (t) => {
  const requests: GenerationRequest[] = [];
  const script = (request: GenerationRequest) => {
    requests.push(request);
    return [];
  };
  const { client } = await startMockApi(t, { script, contextTokens: 100 }, { MAX_OUTPUT_TOKENS: "50" });
  const extras = { top_k: 5, min_p: 0.1, repeat_penalty: 1.2, repeat_last_n: 7 };
  await client.chat.completions.create({
    ...hello,
    ...extras,
    temperature: 0.5,
    top_p: 0.25,
    seed: 3,
    stop: ["x", "y"],
    presence_penalty: 1,
    frequency_penalty: -1,
    logit_bias: { "5": -100, ab: 2 } as Record<string, number>,
    max_completion_tokens: 20,
  });
  const [first] = requests;
  t.deepEqual(first!.sampling, {
    temperature: 0.5,
    topP: 0.25,
    topK: 5,
    minP: 0.1,
    seed: 3,
    repeatPenalty: 1.2,
    repeatLastN: 7,
    frequencyPenalty: -1,
    presencePenalty: 1,
    logitBias: [
      [5, -100],
      [97 + 3, 2],
      [98 + 3, 2],
    ],
  });
  t.like(first, { maxTokens: 20, stop: ["x", "y"], cacheScope: "test" });
  t.is(first!.prompt.length, 24);
  await client.chat.completions.create(hello);
  t.is(requests[1]!.maxTokens, 50, "the operator's cap");
  await client.chat.completions.create({
    ...hello,
    max_tokens: 1_000_000,
    messages: [{ role: "user", content: "x".repeat(41) }],
  });
  t.is(requests[2]!.maxTokens, 40, "the room");
});

test("a shared prefix cache has one scope", async (t) => {
  let scope: string | null | undefined;
  const script = (request: GenerationRequest) => {
    scope = request.cacheScope;
    return [];
  };
  const { client } = await startMockApi(t, { script }, { PREFIX_CACHE_SCOPE: "shared" });
  await client.chat.completions.create(hello);
  t.is(scope, "");
});

test("an answer cut by its limit ends with length", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("a", "b", "c") });
  const answer = await client.chat.completions.create({ ...hello, max_tokens: 2 });
  t.like(answer.choices[0], { finish_reason: "length", message: { content: "ab" } });
  const stopped = await client.chat.completions.create({ ...hello, stop: "b" });
  t.like(stopped.choices[0], { finish_reason: "stop", message: { content: "a" } });
});

test("a wrong field is the client's BadRequestError with code and param, streamed or not", async (t) => {
  const { client, engine } = await startMockApi(t);
  for (const stream of [false, true]) {
    const error = await t.throwsAsync(client.chat.completions.create({ ...hello, temperature: 3, stream }), {
      instanceOf: BadRequestError,
    });
    t.like(error, {
      status: 400,
      code: "decimal_above_max_value",
      param: "temperature",
      type: "invalid_request_error",
    });
    t.is(error!.message, "400 Invalid 'temperature': expected a value <= 2, got 3.");
  }
  const messages = [{ role: "user", content: [{ type: "image_url", image_url: { url: "http://x/" } }] }] as const;
  const image = await t.throwsAsync(client.chat.completions.create({ model: "m", messages: messages as never }));
  t.like(image, { status: 400, code: "unsupported_value", param: "messages[0].content[0]" });
  const bias = await t.throwsAsync(client.chat.completions.create({ ...hello, logit_bias: { "9999": 1 } }));
  t.like(bias, { status: 400, code: "invalid_value", param: "logit_bias.9999" });
  t.deepEqual(engine.ended, { finished: 0, aborted: 0, failed: 0 });
});

test("more choices than sequences are refused", async (t) => {
  const { client } = await startMockApi(t, { maxConcurrentRequests: 2 });
  const error = await t.throwsAsync(client.chat.completions.create({ ...hello, n: 3 }));
  t.like(error, { status: 400, code: "integer_above_max_value", param: "n" });
});

test("MODEL_STRICT serves only its own name", async (t) => {
  const { client } = await startMockApi(t, {}, { MODEL_STRICT: "true" });
  const error = await t.throwsAsync(client.chat.completions.create(hello));
  t.like(error, { status: 404, code: "model_not_found", param: "model" });
  t.is((await client.chat.completions.create({ ...hello, model: "served" })).model, "served");
});

test("a prompt that leaves no room is refused with both numbers", async (t) => {
  const { client } = await startMockApi(t, { contextTokens: 24 });
  const error = await t.throwsAsync(client.chat.completions.create({ ...hello, stream: true }), {
    instanceOf: BadRequestError,
  });
  t.like(error, { code: "context_length_exceeded", param: "messages" });
  t.like((error as APIError).error as object, { n_prompt_tokens: 24, n_ctx: 24 });
  t.is(
    error!.message,
    "400 This model's maximum context length is 24 tokens; messages came to 24, which exceeds the available context size.",
  );
});

test("a failure before the first event is an answer with its real status, streamed or not", async (t) => {
  const script = () => [{ fail: new Failure("generation_failed", "The engine failed.") }];
  const { client, post } = await startMockApi(t, { script });
  for (const stream of [false, true]) {
    const error = await t.throwsAsync(client.chat.completions.create({ ...hello, stream }), {
      instanceOf: InternalServerError,
    });
    t.like(error, { status: 500, code: "generation_failed" });
    const response = await post("/v1/chat/completions", { ...hello, stream, zz: 1 });
    t.is(response.headers.get("content-type"), "application/json; charset=utf-8");
    t.is(response.headers.get("x-ignored-parameters"), null);
    await response.text();
  }
});

test("an error that is no Failure tells nothing but the request's id", async (t) => {
  const script = (request: GenerationRequest): MockStep[] => {
    const secret = { fail: new Error("secret /path") };
    return request.maxTokens === 1 ? [secret] : [{ text: "a" }, secret];
  };
  const { client } = await startMockApi(t, { script });
  const early = await t.throwsAsync(client.chat.completions.create({ ...hello, max_tokens: 1 }));
  t.like(early, { status: 500, code: "internal_error" });
  t.regex(early!.message, /^500 Internal error, request req_[0-9a-f]+\.$/);
  const late = await t.throwsAsync(client.chat.completions.stream(hello).done());
  t.regex(late!.message, /Internal error, request req_/);
});

test("one failing choice fails the whole answer and frees the others", async (t) => {
  const script = ({ sampling }: GenerationRequest): MockStep[] =>
    sampling.seed === 1 ? [{ fail: new Failure("generation_failed", "broken") }] : [{ wait: new Promise(() => {}) }];
  const { client, engine } = await startMockApi(t, { script });
  for (const stream of [false, true]) {
    const error = await t.throwsAsync(client.chat.completions.create({ ...hello, n: 3, seed: 0, stream }));
    t.like(error, { status: 500, code: "generation_failed" });
    t.is(engine.running, 0);
  }
  t.like(engine.ended, { failed: 2, aborted: 4 });
});

test("a failure after the head throws out of the client's iterator", async (t) => {
  const script = () => [{ text: "a" }, { fail: new Failure("generation_failed", "broken") }];
  const { client } = await startMockApi(t, { script });
  const stream = await client.chat.completions.create({ ...hello, stream: true });
  let text = "";
  const error = await t.throwsAsync(
    async () => {
      for await (const chunk of stream) text += chunk.choices[0]!.delta.content ?? "";
    },
    { instanceOf: APIError },
  );
  t.is(text, "a");
  t.is((error as APIError).code, "generation_failed");
});

test("REQUEST_TIMEOUT is 504 before the head and an event after it; clients are told not to retry", async (t) => {
  const never = new Promise(() => {});
  const script = ({ maxTokens }: GenerationRequest): MockStep[] =>
    maxTokens === 1 ? [{ wait: never }] : [{ text: "a" }, { wait: never }];
  const { client, engine } = await startMockApi(t, { script }, { REQUEST_TIMEOUT: "0.05" });
  const early = await t.throwsAsync(client.chat.completions.create({ ...hello, max_tokens: 1, stream: true }));
  t.like(early, { status: 504, code: "request_timeout", type: "timeout_error" });
  t.is((early as APIError).headers?.get("x-should-retry"), "false");
  const late = await t.throwsAsync(client.chat.completions.create(hello));
  t.like(late, { status: 504, message: "504 Timed out after 0.05s." });
  const streamed = await t.throwsAsync(client.chat.completions.stream(hello).done());
  t.like(streamed, { code: "request_timeout" });
  t.is(engine.running, 0);
  t.is(engine.ended.aborted, 3);
});

test("a client that leaves frees its generations: waiting, before the first token, in mid-stream", async (t) => {
  const script = ({ maxTokens }: GenerationRequest): MockStep[] =>
    maxTokens === 1 ? [{ wait: new Promise(() => {}) }] : [{ text: "a" }, { wait: new Promise(() => {}) }];
  const { client, engine, server } = await startMockApi(t, { script, maxConcurrentRequests: 1 });
  const running = new AbortController();
  const waiting = new AbortController();
  const create = (fields: object, { signal }: AbortController) =>
    client.chat.completions.create({ ...hello, ...fields }, { signal });
  const first = create({ max_tokens: 1 }, running);
  await until(() => engine.running === 1);
  const second = create({ stream: true }, waiting);
  await until(() => server.parts.gate.waiting === 1);
  waiting.abort();
  await t.throwsAsync(second);
  await until(() => server.parts.gate.waiting === 0);
  running.abort();
  await t.throwsAsync(first);
  await until(() => engine.running === 0);
  const stream = await client.chat.completions.create({ ...hello, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]!.delta.content) break;
  await until(() => engine.running === 0);
  t.is(engine.ended.aborted, 2); // the one that waited never reached the engine
});

test("two hundred clients that leave in a row leave nothing behind", async (t) => {
  const signals: AbortSignal[] = [];
  const script = (request: GenerationRequest): MockStep[] => {
    signals.push(request.signal);
    return [{ text: "a" }, { wait: new Promise(() => {}) }];
  };
  const { client, engine, server } = await startMockApi(t, { script });
  for (let i = 0; i < 200; i++) {
    const stream = await client.chat.completions.create({ ...hello, n: 1 + (i % 2), stream: true });
    for await (const chunk of stream) if (chunk.choices[0]!.delta.content) break;
    await until(() => engine.running === 0 && engine.waiting === 0);
  }
  t.true(signals.every((signal) => signal.aborted));
  t.is(engine.ended.aborted, 300);
  await until(() => server.parts.heartbeat.idleSeconds(Number.MAX_SAFE_INTEGER) > 0);
  t.is((await client.chat.completions.create({ ...hello, max_tokens: 1 })).choices[0]!.message.content, "a");
});

test("many calls at once over few sequences each get their own answer", async (t) => {
  const { client, engine } = await startMockApi(t, { maxConcurrentRequests: 4 });
  const ask = (i: number, stream: boolean) => {
    const body = { model: "m", messages: [{ role: "user" as const, content: `question ${i}` }], temperature: 0 };
    if (!stream) return client.chat.completions.create(body).then(({ choices }) => choices[0]!.message.content);
    return client.chat.completions.stream(body).finalContent();
  };
  const alone: (string | null)[] = [];
  for (let i = 0; i < 16; i++) alone.push(await ask(i, false));
  t.true(new Set(alone).size > 8);
  t.deepEqual(await Promise.all(alone.map((_, i) => ask(i, i % 2 === 0))), alone);
  t.is(engine.ended.finished, 32);
});

test("the counters see successes, failures after the head, and not those who left", async (t) => {
  const door = gate();
  const script = ({ maxTokens }: GenerationRequest): MockStep[] => {
    if (maxTokens === 1) return [{ text: "a" }];
    if (maxTokens === 2) return [{ text: "a" }, { fail: new Error("x") }];
    return [{ text: "a" }, { wait: door.promise }];
  };
  const { client, engine, post, server } = await startMockApi(t, { script });
  const counts = async () => {
    const response = await fetch(`${server.url}/health`);
    const { gateway } = (await response.json()) as { gateway: { metrics: Record<string, number> } };
    const { requests_total, requests_success, requests_error } = gateway.metrics;
    return [requests_total, requests_success, requests_error];
  };
  await client.chat.completions.create({ ...hello, max_tokens: 1 });
  await t.throwsAsync(client.chat.completions.stream({ ...hello, max_tokens: 2 }).done());
  await until(async () => (await counts()).join() === "2,1,1");
  const left = new AbortController();
  const response = await post("/v1/chat/completions", { ...hello, stream: true }, { signal: left.signal });
  t.is(response.status, 200);
  left.abort();
  await until(() => engine.running === 0);
  await until(async () => (await counts()).join() === "3,1,1");
  t.deepEqual(engine.ended, { finished: 1, failed: 1, aborted: 1 });
});
