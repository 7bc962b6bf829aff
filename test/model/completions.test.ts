// Completions on tiny-chat through the official client: log-probabilities of prompts and answers, schemas and grammars, filling in.
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import test from "ava";
import { afterTags } from "../../src/engine/reasoning-grammar.ts";
import { fimTokens, writeFimModel } from "../helpers/fim-model.ts";
import { dialects, eventsOf, type FoldedChoice } from "../helpers/folded.ts";
import { compileValidator } from "../helpers/schemas.ts";
import { jsonOf } from "../helpers/server.ts";
import { shareTinyApi, startTinyApi } from "../helpers/tiny-api.ts";

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;

const api = shareTinyApi(test);

const prompt = "Once upon a time a small dragon lived in Paris. The capital of France is";
const body = { model: "tiny-chat", prompt, temperature: 0, max_tokens: 24 };

const complete = async (fields: object) =>
  (await jsonOf(await api.post("/v1/completions", { ...body, ...fields }))).choices as Json[];

const close = (a: number | null, b: number | null) => a === b || Math.abs(a! - b!) < 1e-2;

test("a scored prompt has the log-probabilities it had as an answer, in any surroundings", async (t) => {
  const [answer] = await complete({ logprobs: 3 });
  const prefix = await jsonOf(await api.post("/tokenize", { content: prompt }));
  const said = await jsonOf(await api.post("/tokenize", { content: answer.text }));
  const again = { prompt: [...prefix.tokens, ...said.tokens], echo: true, logprobs: 3, max_tokens: 0 };
  const [alone, beside] = await Promise.all([complete(again), complete({ ...again, max_tokens: 4 })]);
  const count = prefix.tokens.length;
  t.is(alone[0].text, prompt + answer.text);
  const { tokens, token_logprobs, top_logprobs, text_offset } = alone[0].logprobs;
  t.is(token_logprobs[0], null);
  t.is(tokens.join(""), prompt + answer.text);
  t.deepEqual(tokens.slice(count), answer.logprobs.tokens);
  const pairs = token_logprobs
    .slice(count)
    .map((value: number, i: number) => [value, answer.logprobs.token_logprobs[i]]);
  t.true(pairs.length > 3);
  for (const [scored, sampled] of pairs) t.true(close(scored, sampled), `${scored} and ${sampled}`);
  for (const [index, tops] of top_logprobs.slice(count).entries()) {
    t.deepEqual(Object.keys(tops).slice(0, 2), Object.keys(answer.logprobs.top_logprobs[index]).slice(0, 2));
  }
  for (const [index, offset] of text_offset.entries()) t.is(tokens.slice(0, index).join("").length, offset);
  for (const [index, value] of token_logprobs.entries()) t.true(close(value, beside[0].logprobs.token_logprobs[index]));
});

test("prompts longer than a step's share are scored whole", async (t) => {
  const long = `${prompt}. `.repeat(12);
  const [plain] = await complete({ prompt: long, echo: true, logprobs: 0, max_tokens: 2 });
  const { tokens, token_logprobs } = plain.logprobs;
  t.true(tokens.length > 150);
  t.is(tokens.join(""), plain.text);
  t.true(token_logprobs.slice(1).every((value: number) => value <= 0 && value > -9999));
  t.is(token_logprobs.filter((value: unknown) => value === null).length, 1);
  const [cached] = await complete({ prompt: long, max_tokens: 2 });
  t.is(plain.text, long + cached.text);
});

test("the choices of several prompts, streamed at once, are those of the plain answer", async (t) => {
  const prompts = ["Hello", "Show me a rocket emoji.", "1, 2, 3,", "Say hello in Russian."];
  for (const fields of [{ logprobs: 2 }, { logprobs: 0, echo: true }, { n_probs: 1 }]) {
    const request = { ...body, ...fields, prompt: prompts, n: 2, cache_prompt: false, max_tokens: 4 };
    const plain = dialects.completions.plain({ choices: await complete(request) });
    const stream = await api.post("/v1/completions", { ...request, stream: true });
    const streamed = dialects.completions.streamed(eventsOf(await stream.text()));
    // Those that run at once differ from run to run in the last bits of their sums; test/model/streams.test.ts compares figures.
    const said = (choices: FoldedChoice[]) =>
      choices.map(({ text, logprobs, finish }) => [text, logprobs.length, finish]);
    t.is(plain.length, 8);
    t.deepEqual(said(streamed), said(plain));
  }
});

test("an answer by a schema is valid, one by a grammar follows it", async (t) => {
  const json_schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 12 }, age: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["name", "age"],
    additionalProperties: false,
  };
  const valid = compileValidator(json_schema);
  for (const seed of [1, 2, 3]) {
    const [{ text, finish_reason }] = await complete({ json_schema, max_tokens: 200, temperature: 1, seed });
    t.is(finish_reason, "stop");
    t.true(valid(JSON.parse(text)), text);
  }
  t.regex((await complete({ grammar: 'root ::= " " ("yes" | "no")' }))[0].text, /^ (yes|no)$/);
});

test("a grammar begins after the reasoning of a chat answer, streamed as well", async (t) => {
  const grammar = 'root ::= "yes" | "no" space\nspace ::= "!"';
  const messages = [{ role: "user" as const, content: "What is the weather in Berlin?" }];
  const request = { model: "tiny-chat", temperature: 0, messages, grammar };
  const { choices } = await api.client.chat.completions.create(request);
  const message = choices[0]!.message as { content: string; reasoning_content?: string };
  t.regex(message.content, /^(yes|no!)$/);
  t.true((message.reasoning_content ?? "").length > 0);
  const told = { content: "", reasoning_content: "" };
  for await (const chunk of await api.client.chat.completions.create({ ...request, stream: true })) {
    const delta = chunk.choices[0]!.delta as Partial<typeof told>;
    told.content += delta.content ?? "";
    told.reasoning_content += delta.reasoning_content ?? "";
  }
  t.deepEqual(told, { content: message.content, reasoning_content: message.reasoning_content! });
  const quiet = { ...request, chat_template_kwargs: { enable_thinking: false } };
  const calm = (await api.client.chat.completions.create(quiet)).choices[0]!.message;
  t.regex(calm.content!, /^(yes|no!)$/);
  t.false("reasoning_content" in calm);
  const broken = api.client.chat.completions.create({ ...request, grammar: "root ::= nowhere" } as never);
  t.like(await t.throwsAsync(broken as Promise<unknown>), { status: 400, code: "invalid_grammar" });
});

test("a frame of our own lets a model think and then holds it to the grammar", async (t) => {
  const thinking = { generationPrompt: "", startTag: "<think>", endTag: "</think>" };
  const grammar = afterTags('root ::= "yes" | "no"', thinking);
  for (const seed of [1, 2, 3]) {
    const [{ text, finish_reason }] = await complete({
      prompt: "<think>",
      grammar,
      max_tokens: 400,
      temperature: 1.5,
      seed,
    });
    if (finish_reason === "stop") t.regex(text, /^(<think>.*<\/think>)?(yes|no)$/s);
    else t.regex(text, /^<think>/);
  }
  const [begun] = await complete({ grammar: afterTags('root ::= "yes"', { ...thinking, endTag: "e" }) });
  t.regex(begun.text, /^(<think>[^e]*e)?yes$/);
});

test("progress and timings ride on the chunks of a chat", async (t) => {
  const messages = [{ role: "user", content: `${prompt}. `.repeat(4) }];
  const fields = { return_progress: true, timings_per_token: true, stream: true, max_tokens: 4 };
  const text = await (await api.post("/v1/chat/completions", { messages, ...fields })).text();
  const chunks = [...text.matchAll(/^data: (\{.*)$/gm)].map(([, json]) => JSON.parse(json!));
  t.like(chunks[0].choices[0].delta, { role: "assistant" });
  const progress = chunks.flatMap(({ prompt_progress }) => (prompt_progress ? [prompt_progress] : []));
  t.is(progress[0].processed, progress[0].cache);
  t.is(progress.at(-1).processed, progress.at(-1).total);
  t.true(progress.length >= 2);
  t.true(chunks.slice(1).every(({ timings }) => timings !== undefined));
  t.is(chunks.at(-1).timings.predicted_n, 4);
});

test("a model with the tokens for it fills in the middle, by either route", async (t) => {
  const path = writeFimModel();
  t.teardown(() => rmSync(dirname(path), { recursive: true }));
  const fim = await startTinyApi(t, {}, { modelPath: path });
  const around = {
    input_prefix: "The capital of ",
    input_suffix: " is Paris.",
    n_predict: 8,
    temperature: 0,
    ignore_eos: true,
  };
  const answer = await jsonOf(await fim.post("/infill", around));
  t.like(answer, { stop: true, stop_type: "limit", tokens_predicted: 8, model: "tiny-chat" });
  const { tokens } = await jsonOf(await fim.post("/tokenize", { content: answer.prompt }));
  t.is(answer.tokens_evaluated, tokens.length);
  t.deepEqual(tokens.slice(0, 1), [fimTokens.file]);
  t.is(tokens.at(-1), fimTokens.middle);
  const text = await (await fim.post("/infill", { ...around, stream: true })).text();
  const pieces = [...text.matchAll(/^data: (\{.*)$/gm)].map(([, json]) => JSON.parse(json!).content);
  t.is(pieces.join(""), answer.content);
  const request = { model: "m", prompt: "The capital of ", suffix: " is Paris.", max_tokens: 8, temperature: 0 };
  const completed = await fim.client.completions.create(request);
  const own = [fimTokens.prefix, ...(await fim.engine.tokenize("The capital of ", false, false)), fimTokens.suffix];
  const prompt = [...own, ...(await fim.engine.tokenize(" is Paris.", false, false)), fimTokens.middle];
  const same = await fim.client.completions.create({ ...request, suffix: null, prompt });
  t.is(completed.choices[0]!.text, same.choices[0]!.text);
  t.like(await jsonOf(await api.post("/infill", around)), { error: { code: "unsupported_model" } });
});
