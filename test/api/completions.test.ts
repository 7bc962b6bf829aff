// /v1/completions through the official client, over a real socket and the mock engine.
import test from "ava";
import type OpenAI from "openai";
import { BadRequestError } from "openai";
import type { GenerationRequest } from "../../src/engine/engine.ts";
import { type MockStep, mockTokens } from "../../src/engine/mock-engine.ts";
import { startMockApi } from "../helpers/mock-api.ts";

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
  await refused({ prompt: "x", echo: true }, { code: "unsupported_parameter", param: "echo" });
  await t.notThrowsAsync(create({ prompt: "x".repeat(9), max_tokens: 0 }));
});

test("a prompt that comes to no tokens is refused", async (t) => {
  const { engine, post } = await startMockApi(t);
  engine.tokenize = async () => new Int32Array();
  const response = await post("/v1/completions", { prompt: "" });
  t.is(response.status, 400);
  t.like(await response.json(), { error: { code: "invalid_value", param: "prompt" } });
});
