// /infill over a real socket and the mock engine: what the model reads, and llama-server's shapes of what it writes.
import test from "ava";
import type { GenerationRequest } from "../../src/engine/engine.ts";
import { type MockStep, mockTokens } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf } from "../helpers/server.ts";

const say = (...words: string[]) => words.map((text): MockStep => ({ text }));
const { begin, firstByte, fim } = mockTokens;
const bytes = (text: string) => [...Buffer.from(text)].map((byte) => byte + firstByte);
const around = { input_prefix: "a(", input_suffix: ")b" };

test("prefix, suffix and what the middle begins with, after the other texts of the project", async (t) => {
  const prompts: number[][] = [];
  const script = ({ prompt }: GenerationRequest) => {
    prompts.push([...prompt]);
    return [];
  };
  const { post } = await startMockApi(t, { script, fim: true });
  const input_extra = [{ text: "one", filename: "1.c" }, { text: "two" }];
  t.is((await post("/infill", { ...around, prompt: "x", input_extra })).status, 200);
  t.is((await post("/infill", around)).status, 200);
  const middle = (begun: string) => [
    ...[begin, fim.prefix, ...bytes("a("), ...bytes(begun)],
    ...[fim.suffix, ...bytes(")b"), fim.middle],
  ];
  const project = [fim.repository, ...bytes("myproject\n")];
  const file = [fim.file, ...bytes("filename\n")];
  t.deepEqual(prompts, [
    [...project, fim.file, ...bytes("1.c\none"), fim.file, ...bytes("tmp\ntwo"), ...file, ...middle("x")],
    [...project, ...file, ...middle("")],
  ]);
});

test("a whole answer in llama-server's shape", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("1,", "\n2"), fim: true });
  const answer = await jsonOf(await post("/infill", { ...around, n_probs: 1, user: "u", id_slot: 3 }));
  const { generation_settings, timings, completion_probabilities, prompt, ...rest } = answer;
  t.deepEqual(rest, {
    index: 0,
    tokens: [],
    id_slot: -1,
    content: "1,\n2",
    stop: true,
    model: "served",
    tokens_predicted: 3,
    tokens_evaluated: 29,
    has_new_line: true,
    truncated: false,
    stop_type: "eos",
    stopping_word: "",
    tokens_cached: 31,
  });
  t.like(generation_settings, { n_predict: 16384 - 29, top_k: 40 });
  t.like(timings, { prompt_n: 29, predicted_n: 3 });
  t.deepEqual(
    completion_probabilities.map(({ token }: { token: string }) => token),
    ["1,", "\n2"],
  );
  t.true(prompt.includes("a("));
});

const wholeMembers = [
  ...["index", "content", "tokens", "id_slot", "stop", "model", "tokens_predicted", "tokens_evaluated"],
  ...["generation_settings", "prompt", "has_new_line", "truncated", "stop_type", "stopping_word", "tokens_cached"],
  "timings",
];
const pieceMembers = ["index", "content", "tokens", "stop", "id_slot", "tokens_predicted", "tokens_evaluated"];

test("the members stand in the order of API.md, streamed and not", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("1", "2"), fim: true });
  t.deepEqual(Object.keys(await jsonOf(await post("/infill", around))), wholeMembers);
  const text = await (await post("/infill", { ...around, stream: true })).text();
  const objects = text
    .split("\n\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line.slice("data: ".length)));
  t.deepEqual(objects.map(Object.keys), [pieceMembers, pieceMembers, wholeMembers]);
});

test("why it ended: a stop string, the limit; n_predict 0 only warms the cache", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("ab", "c"), fim: true });
  const ask = async (fields: object) => jsonOf(await post("/infill", { ...around, ...fields }));
  t.like(await ask({ stop: "b" }), { content: "a", stop_type: "word", stopping_word: "b" });
  t.like(await ask({ n_predict: 1 }), { content: "ab", stop_type: "limit", tokens_predicted: 1 });
  t.like(await ask({ n_predict: 0 }), { content: "", stop_type: "limit", tokens_predicted: 0 });
});

test("a stream: pieces, then the whole without its text, and no end mark", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("1", "2\n"), fim: true });
  const body = { ...around, stream: true, return_progress: true, n_probs: 1 };
  const response = await post("/infill", { ...body, samplers: ["top_k", "infill"], n_indent: 2 });
  t.is(response.headers.get("x-ignored-parameters"), "n_indent");
  const lines = (await response.text()).split("\n\n").filter((line) => line !== "");
  t.true(lines.every((line) => line.startsWith("data: {")));
  const objects = lines.map((line) => JSON.parse(line.slice("data: ".length)));
  t.deepEqual(
    objects.map(({ content, stop, tokens_predicted }) => [content, stop, tokens_predicted]),
    [
      ["", false, 0],
      ["", false, 0],
      ["1", false, 1],
      ["2\n", false, 2],
      ["", true, 3],
    ],
  );
  t.like(objects[1], { prompt_progress: { total: 29, processed: 29 } });
  t.is(objects[2].completion_probabilities[0].token, "1");
  t.like(objects[4], { has_new_line: true, stop_type: "eos", tokens_evaluated: 29 });
  t.false("timings" in objects[2]);
});

test("a failure is the last event of a stream", async (t) => {
  const script = () => [{ text: "a" }, { fail: new Failure("generation_failed", "It broke.") }];
  const { post } = await startMockApi(t, { script, fim: true });
  const text = await (await post("/infill", { ...around, stream: true })).text();
  t.regex(text, /data: \{"error":\{"message":"It broke\."[^\n]*\n\n$/);
});

test("what is missing or wrong is refused by name, and a model without the tokens", async (t) => {
  const { post } = await startMockApi(t, { fim: true, contextTokens: 40 });
  const refuse = async (fields: object, expected: object) => {
    const answer = await post("/infill", { ...around, ...fields });
    t.is(answer.status, 400);
    t.like((await jsonOf(answer)).error, expected);
  };
  await refuse({ input_prefix: undefined }, { code: "missing_required_parameter", param: "input_prefix" });
  await refuse({ input_suffix: 5 }, { code: "invalid_type", param: "input_suffix" });
  await refuse({ prompt: ["a"] }, { code: "invalid_type", param: "prompt" });
  await refuse({ input_extra: [{}] }, { code: "missing_required_parameter", param: "input_extra[0].text" });
  await refuse({ input_extra: new Array(65).fill({ text: "" }) }, { code: "array_above_max_length" });
  await refuse({ n: 2 }, { code: "integer_above_max_value", param: "n" });
  await refuse({ input_prefix: "x".repeat(20) }, { code: "context_length_exceeded", param: "prompt" });
  const { post: other } = await startMockApi(t);
  const answer = await other("/infill", around);
  t.is(answer.status, 400);
  t.like((await jsonOf(answer)).error, { code: "unsupported_model", param: "model" });
});
