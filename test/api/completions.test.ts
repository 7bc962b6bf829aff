// /v1/completions through the official client, over a real socket and the mock engine.
import test from "ava";
import type OpenAI from "openai";
import { BadRequestError } from "openai";
import type { Constraint, GenerationRequest } from "../../src/engine/engine.ts";
import { type MockStep, mockTokens } from "../../src/engine/mock-engine.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf } from "../helpers/server.ts";

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;

const say = (...words: string[]) => words.map((text): MockStep => ({ text }));

/** Says its prompt's last token and its seed. */
const sayPrompt = ({ prompt, sampling }: GenerationRequest) => say(`${prompt.at(-1)}`, `/${sampling.seed}`);

test("a plain answer", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("Hi", " there") });
  const answer = await client.completions.create({ model: "m", prompt: "Hello" });
  t.regex(answer.id, /^cmpl-[A-Za-z0-9]{24}$/);
  t.like(answer, { object: "text_completion", model: "served", system_fingerprint: "b0-mock" });
  t.deepEqual(answer.choices as unknown[], [{ index: 0, text: "Hi there", logprobs: null, finish_reason: "stop" }]);
  t.like(answer.usage, { prompt_tokens: 6, completion_tokens: 3, total_tokens: 9 });
});

test("a streamed answer has the same text", async (t) => {
  const { client } = await startMockApi(t);
  const body = { model: "m", prompt: "Once", temperature: 0, max_tokens: 8 };
  const whole = await client.completions.create(body);
  const chunks: OpenAI.Completion[] = [];
  const stream = await client.completions.create({ ...body, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) chunks.push(chunk);
  t.is(chunks.map(({ choices }) => choices[0]?.text ?? "").join(""), whole.choices[0]!.text);
  t.is(chunks.at(-2)!.choices[0]!.finish_reason, "length");
  t.deepEqual(chunks.at(-1)!.choices, []);
  t.deepEqual(chunks.at(-1)!.usage, whole.usage);
});

test("without a limit an answer ends after 16 tokens; 0 only evaluates the prompt", async (t) => {
  const { client } = await startMockApi(t, { script: () => say(..."abcdefghijklmnopqrstuvwxyz") });
  const body = { model: "m", prompt: "x" };
  t.is((await client.completions.create(body)).choices[0]!.text, "abcdefghijklmnop");
  const none = await client.completions.create({ ...body, max_tokens: 0 });
  t.like(none.choices[0], { text: "", finish_reason: "length" });
  t.like(none.usage, { prompt_tokens: 2, completion_tokens: 0 });
  t.is((await client.completions.create({ ...body, max_tokens: -1 })).choices[0]!.text.length, 26);
});

test("a prompt is text with a BOS, token ids as they are, or both; an empty text is the BOS alone", async (t) => {
  const prompts: number[][] = [];
  const script = (request: GenerationRequest) => {
    prompts.push([...request.prompt]);
    return [];
  };
  const { post } = await startMockApi(t, { script });
  const { begin, firstByte } = mockTokens;
  const a = 97 + firstByte;
  const cases: [prompt: unknown, tokens: number[]][] = [
    ["a", [begin, a]],
    ["", [begin]],
    [
      [5, 6],
      [5, 6],
    ],
    [
      [5, "a"],
      [5, a],
    ],
    [
      ["a", 5],
      [begin, a, 5],
    ],
  ];
  for (const [prompt] of cases) t.is((await post("/v1/completions", { prompt })).status, 200);
  t.deepEqual(
    prompts,
    cases.map(([, tokens]) => tokens),
  );
});

test("several prompts with several choices each are numbered prompt by prompt", async (t) => {
  const { client } = await startMockApi(t, { script: sayPrompt, maxConcurrentRequests: 2 });
  const body = { model: "m", prompt: [[7, 8], [9]], n: 2, seed: 3 };
  const answer = (await client.completions.create(body as never)) as OpenAI.Completion;
  t.deepEqual(
    answer.choices.map(({ index, text }) => [index, text]),
    [
      [0, "8/3"],
      [1, "8/4"],
      [2, "9/3"],
      [3, "9/4"],
    ],
  );
  t.like(answer.usage, { prompt_tokens: 3, completion_tokens: 12 });
  const texts: Record<number, string> = {};
  const stream = (await client.completions.create({
    ...body,
    stream: true,
  } as never)) as unknown as AsyncIterable<OpenAI.Completion>;
  for await (const { choices } of stream) {
    t.is(choices.length, 1);
    const { index, text } = choices[0]!;
    texts[index] = (texts[index] ?? "") + text;
  }
  t.deepEqual(texts, { 0: "8/3", 1: "8/4", 2: "9/3", 3: "9/4" });
});

test("wrong prompts are refused with their place", async (t) => {
  const { client } = await startMockApi(t, { contextTokens: 10 });
  const create = (fields: object) => client.completions.create({ model: "m", ...fields } as never);
  const refused = async (fields: object, expected: object) =>
    t.like(await t.throwsAsync(create(fields), { instanceOf: BadRequestError }), expected);
  await refused({}, { code: "missing_required_parameter", param: "prompt" });
  await refused({ prompt: [1, mockTokens.vocabSize] }, { code: "invalid_value", param: "prompt[1]" });
  await refused({ prompt: "x".repeat(9) }, { code: "context_length_exceeded", param: "prompt" });
  await refused({ prompt: ["x", "x".repeat(20)], max_tokens: 0 }, { code: "context_length_exceeded", param: "prompt" });
  await refused({ prompt: "x", suffix: "y" }, { code: "unsupported_model", param: "model" });
  await t.notThrowsAsync(create({ prompt: "x".repeat(9), max_tokens: 0 }));
});

test("a prompt that comes to no tokens is refused", async (t) => {
  const { engine, post } = await startMockApi(t);
  engine.tokenize = async () => new Int32Array();
  const response = await post("/v1/completions", { prompt: "" });
  t.is(response.status, 400);
  t.like(await response.json(), { error: { code: "invalid_value", param: "prompt" } });
  const listed = await post("/v1/completions", { prompt: [""] });
  t.like(await listed.json(), { error: { code: "invalid_value", param: "prompt[0]" } });
});

test("log-probabilities in parallel arrays, with the place of each token in the text", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("Hé", "😀", "!") });
  const answer = await client.completions.create({ model: "m", prompt: "x", logprobs: 1 });
  t.deepEqual(answer.choices[0]!.logprobs as unknown, {
    tokens: ["Hé", "😀", "!"],
    token_logprobs: [-0.25, -0.25, -0.125],
    top_logprobs: [{ Hé: -0.25 }, { "😀": -0.25 }, { "!": -0.125 }],
    text_offset: [0, 2, 3],
  });
  const bare = await client.completions.create({ model: "m", prompt: "x", logprobs: 0 });
  t.is(bare.choices[0]!.logprobs!.top_logprobs ?? null, null);
});

test("a token held back for a stop string is told with its text, one inside a stop string is not", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("a", "S", "T", "b", "STOP", "c") });
  const body = { model: "m", prompt: "x", logprobs: 0, stop: "STOP" };
  const whole = await client.completions.create(body);
  t.is(whole.choices[0]!.text, "aSTb");
  t.deepEqual(whole.choices[0]!.logprobs!.tokens, ["a", "S", "T", "b"]);
  t.deepEqual(await folded(await client.completions.create({ ...body, stream: true })), whole.choices);
});

test("echo puts the prompt before each answer, without the BOS, streamed as well as whole", async (t) => {
  const { client } = await startMockApi(t, { script: sayPrompt });
  const body = { model: "m", prompt: ["Hé", [100, 101]], n: 2, seed: 3, echo: true } as never;
  const { choices } = (await client.completions.create(body)) as OpenAI.Completion;
  const second = String.fromCharCode(100 - mockTokens.firstByte, 101 - mockTokens.firstByte);
  t.deepEqual(
    choices.map(({ text }) => text),
    ["Hé172/3", "Hé172/4", `${second}101/3`, `${second}101/4`],
  );
  t.deepEqual(await folded(await client.completions.create({ ...(body as object), stream: true } as never)), choices);
});

test("echo with logprobs scores the prompt, its first token aside", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("!") });
  const body = { model: "m", prompt: "Hé", echo: true, logprobs: 2, max_tokens: 1 };
  const { choices } = await client.completions.create(body);
  t.is(choices[0]!.text, "Hé!");
  t.deepEqual(choices[0]!.logprobs as unknown, {
    tokens: ["H", "bytes:\\xc3", "bytes:\\xa9", "!"],
    token_logprobs: [null, -0.125, -0.125, -0.125],
    // The mock's alternatives are texts: broken characters are not the bytes they came from.
    top_logprobs: [
      null,
      { "\uFFFD": -0.125, "\uFFFD1": -1.125, "bytes:\\xc3": -0.125 },
      { "\uFFFD": -0.125, "\uFFFD1": -1.125, "bytes:\\xa9": -0.125 },
      { "!": -0.125, "!1": -1.125 },
    ],
    text_offset: [0, 1, 1, 2],
  });
  t.deepEqual(await folded(await client.completions.create({ ...body, stream: true })), choices);
  const scored = await client.completions.create({ ...body, max_tokens: 0, logprobs: 0 });
  t.deepEqual(scored.choices[0]!.logprobs!.token_logprobs as unknown, [null, -0.125, -0.125]);
  t.like(scored.choices[0], { text: "Hé", finish_reason: "length" });
  t.like(scored.usage, { prompt_tokens: 4, completion_tokens: 0 });
});

test("n_probs keeps llama-server's shape", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("a", "b") });
  const { choices } = await jsonOf(await post("/v1/completions", { prompt: "x", n_probs: 1 }));
  const entry = (token: string) => ({ id: 3, token, bytes: [...Buffer.from(token)], logprob: -0.125 });
  const expected = ["a", "b"].map((token) => ({ ...entry(token), top_logprobs: [entry(token)] }));
  t.deepEqual(choices[0].logprobs, { content: expected });
});

test("timings per token are on every object, what was rendered on the last; progress comes first", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("a", "b") });
  const body = { prompt: "xyz", timings_per_token: true, verbose: true, return_progress: true, echo: true };
  const objects = eventsOf(await (await post("/v1/completions", { ...body, stream: true })).text());
  t.deepEqual(
    objects.map(({ choices, prompt_progress }) => prompt_progress?.processed ?? choices[0].text),
    [0, 4, "xyz", "a", "b", ""],
  );
  t.like(objects[1], { prompt_progress: { total: 4, cache: 0 }, timings: { prompt_n: 4, predicted_n: 0 } });
  t.deepEqual(
    objects.slice(2).map(({ timings }) => timings.predicted_n),
    [1, 1, 2, 3],
  );
  t.like(objects.at(-1), { __verbose: { prompt: "xyz", generation_settings: { max_tokens: 16, stream: true } } });
  t.deepEqual(
    objects.map((object) => "__verbose" in object),
    [false, false, false, false, false, true],
  );
  const whole = await jsonOf(await post("/v1/completions", body));
  t.like(whole, { timings: { prompt_n: 4, predicted_n: 3 }, __verbose: { prompt: "xyz" } });
  t.false("prompt_progress" in whole);
});

test("a suffix makes a prompt for the middle", async (t) => {
  const prompts: number[][] = [];
  const script = ({ prompt }: GenerationRequest) => {
    prompts.push([...prompt]);
    return say("!");
  };
  const { client } = await startMockApi(t, { script, fim: true });
  const answer = await client.completions.create({ model: "m", prompt: "a", suffix: "b" });
  t.is(answer.choices[0]!.text, "!");
  const { begin, firstByte, fim } = mockTokens;
  t.deepEqual(prompts, [[begin, fim.prefix, 97 + firstByte, fim.suffix, 98 + firstByte, fim.middle]]);
});

test("a schema and a grammar reach the sampler; the time limit and the alternatives the engine", async (t) => {
  const constraints: Constraint[] = [];
  const requests: GenerationRequest[] = [];
  const script = (request: GenerationRequest) => {
    requests.push(request);
    return [];
  };
  const { post } = await startMockApi(t, { script, onPrepare: (_, constraint) => constraints.push(constraint) });
  const json_schema = { type: "object", properties: { a: { type: "integer" } } };
  t.is((await post("/v1/completions", { prompt: "x", json_schema })).status, 200);
  t.is((await post("/v1/completions", { prompt: "x", grammar: 'root ::= "a"' })).status, 200);
  t.like(constraints, [{ jsonSchema: { type: "object" } }, { grammar: 'root ::= "a"' }]);
  t.is((await post("/v1/completions", { prompt: "x", t_max_predict_ms: 7, echo: true, logprobs: 3 })).status, 200);
  t.like(requests.at(-1), { maxDecodeMs: 7, logprobs: 3, promptLogprobs: 3 });
  t.deepEqual(
    Object.keys(requests[0]!).filter((name) => /report|prompt.|maxDecode/.test(name)),
    [],
  );
});

/** The choices that the objects of a stream add up to. */
async function folded(answer: unknown): Promise<unknown> {
  const stream = answer as AsyncIterable<OpenAI.Completion>;
  const choices: Record<number, Json> = {};
  for await (const { choices: pieces } of stream) {
    const { index, text, logprobs, finish_reason } = pieces[0]!;
    choices[index] ??= { index, text: "", logprobs: null, finish_reason: null };
    const choice = choices[index];
    choice.text += text;
    choice.finish_reason = finish_reason ?? choice.finish_reason;
    for (const [name, values] of Object.entries(logprobs ?? {})) {
      choice.logprobs ??= {};
      choice.logprobs[name] = values === null ? null : [...(choice.logprobs[name] ?? []), ...(values as unknown[])];
    }
  }
  return Object.values(choices).map(({ finish_reason, ...choice }) => ({ finish_reason, ...choice }));
}

/** The JSON of every event but the end mark. */
function eventsOf(text: string): Json[] {
  return [...text.matchAll(/^data: (.*)$/gm)].flatMap(([, data]) => (data === "[DONE]" ? [] : [JSON.parse(data!)]));
}
