// What the rows of API.md section 15 name besides the suite in clients.test.ts, against the real engine: other endpoints of each client,
// streamed calls and reasoning, usage, wording, curl itself, and requests of a chat interface as it sends them.
import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { HumanMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI as LangChainOpenAI } from "@langchain/openai";
import { generateText, type ModelMessage, stepCountIs, streamText, tool as toolOf } from "ai";
import test from "ava";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { jsonOf, testKey } from "../helpers/server.ts";
import { testIf } from "../helpers/skip.ts";
import { shareTinyApi } from "../helpers/tiny-api.ts";
import { animal, weather, weatherInput } from "./client.ts";

const api = shareTinyApi(test);

const france = "What is the capital of France?";
const paris = "The capital of France is Paris.";
const story = { model: "m", temperature: 0, max_tokens: 12 } as const;
const openai = () => new OpenAI({ baseURL: `${api.url}/v1`, apiKey: testKey, maxRetries: 0 });

test("openai: completions whole and streamed, models, one model", async (t) => {
  const client = openai();
  const { choices } = await client.completions.create({ ...story, prompt: "Once upon a time" });
  let text = "";
  const stream = await client.completions.create({ ...story, prompt: "Once upon a time", stream: true });
  for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
  t.true(text.length > 0);
  t.is(text, choices[0]!.text);
  const ids: string[] = [];
  for await (const { id } of client.models.list()) ids.push(id);
  t.is(ids.length, 1);
  t.is((await client.models.retrieve(ids[0]!)).id, ids[0]!);
});

test("openai: responses whole, streamed and parsed", async (t) => {
  const client = openai();
  const ask = { model: "m", input: france, temperature: 0 };
  t.is((await client.responses.create(ask)).output_text, paris);
  const stream = client.responses.stream(ask);
  let text = "";
  for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
  t.is(text, paris);
  t.is((await stream.finalResponse()).output_text, paris);
  const parsed = await client.responses.parse({
    ...ask,
    input: "Describe a cow as JSON.",
    text: { format: zodTextFormat(animal, "animal") },
  });
  t.true(animal.safeParse(parsed.output_parsed).success);
});

test("openai: the accumulator of a chat stream gives usage, content and calls", async (t) => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const stream = openai().chat.completions.stream({
    model: "m",
    temperature: 0,
    messages: [{ role: "user", content: "What is the weather in Paris?" }],
    tools: [{ type: "function", function: { ...weather, parameters } }],
    stream_options: { include_usage: true },
  });
  const { choices, usage } = await stream.finalChatCompletion();
  t.is(choices[0]!.finish_reason, "tool_calls");
  t.deepEqual(JSON.parse(choices[0]!.message.tool_calls![0]!.function.arguments), { city: "Paris" });
  t.true(usage!.completion_tokens > 0);
});

test("anthropic: tokens are counted, usage is cumulative, models are listed", async (t) => {
  const client = new Anthropic({ baseURL: api.url, apiKey: testKey, maxRetries: 0 });
  const ask = { model: "m", messages: [{ role: "user" as const, content: france }] };
  const { input_tokens } = await client.messages.countTokens(ask);
  const { usage } = await client.messages.stream({ ...ask, max_tokens: 50 }).finalMessage();
  t.is(usage.input_tokens + (usage.cache_read_input_tokens ?? 0), input_tokens);
  t.true(usage.output_tokens > 0);
  t.is((await client.models.list()).data.length, 1);
});

const provider = () =>
  createOpenAICompatible({ name: "ours", baseURL: `${api.url}/v1`, apiKey: testKey, includeUsage: true });

test("vercel: completions whole and streamed", async (t) => {
  const ask = {
    model: provider().completionModel("m"),
    prompt: "Once upon a time",
    temperature: 0,
    maxOutputTokens: 12,
    maxRetries: 0,
  };
  const { text } = await generateText(ask);
  t.true(text.length > 0);
  let streamed = "";
  for await (const piece of streamText(ask).textStream) streamed += piece;
  t.is(streamed, text);
});

test("vercel: a streamed turn thinks, calls and answers; what it said can be sent back", async (t) => {
  const get_weather = toolOf({
    description: weather.description,
    inputSchema: weatherInput,
    execute: async () => '{"condition": "sunny", "degrees": 18}',
  });
  const model = provider()("m");
  const asked: ModelMessage = { role: "user", content: "What is the weather in Paris?" };
  const settings = { model, tools: { get_weather }, stopWhen: stepCountIs(3), temperature: 0, maxRetries: 0 };
  const result = streamText({ ...settings, messages: [asked] });
  const kinds = new Set<string>();
  for await (const { type } of result.fullStream) kinds.add(type);
  for (const kind of ["reasoning-delta", "tool-call", "tool-result", "text-delta", "finish"])
    t.true(kinds.has(kind), kind);
  t.false(kinds.has("error"));
  t.regex(await result.text, /sunny/);
  t.true(((await result.totalUsage).totalTokens ?? 0) > 0);
  const { messages } = await result.response;
  const next = await generateText({ ...settings, messages: [asked, ...messages, { role: "user", content: france }] });
  t.true(next.text.length > 0);
});

const options = () => ({
  apiKey: testKey,
  maxRetries: 0,
  configuration: { baseURL: `${api.url}/v1` },
  model: "m",
  temperature: 0,
});

test("langchain: completions whole and streamed", async (t) => {
  const model = new LangChainOpenAI({ ...options(), model: "gpt-3.5-turbo-instruct", maxTokens: 12 });
  const text = await model.invoke("Once upon a time");
  t.true(text.length > 0);
  let streamed = "";
  for await (const piece of await model.stream("Once upon a time")) streamed += piece;
  t.is(streamed, text);
});

test("langchain: a stream tells its usage; responses answer the same", async (t) => {
  const model = new ChatOpenAI(options());
  let whole: Awaited<ReturnType<typeof model.invoke>> | undefined;
  for await (const chunk of await model.stream(france)) whole = whole ? whole.concat(chunk) : chunk;
  t.is(whole!.text, paris);
  t.true(whole!.usage_metadata!.output_tokens > 0);
  const responses = new ChatOpenAI({ ...options(), useResponsesApi: true });
  t.is((await responses.invoke([new HumanMessage(france)])).text, paris);
});

test("langchain: a prompt that is too long keeps the code and the words that its users look for", async (t) => {
  const error = await t.throwsAsync(new ChatOpenAI(options()).invoke("x ".repeat(9000)), { any: true });
  t.like(error, { status: 400, code: "context_length_exceeded" });
  t.regex(String(error), /maximum context length/);
});

const run = promisify(execFile);

function hasCurl(): boolean {
  try {
    return execFileSync("curl", ["--version"]).length > 0;
  } catch {
    return false;
  }
}

testIf(hasCurl(), "curl is not installed", "curl: plain -d bodies, one line of JSON, streams and errors", async (t) => {
  const key = `Authorization: Bearer ${testKey}`;
  const curl = async (...args: string[]) => (await run("curl", ["-sS", "-H", key, ...args])).stdout;
  const body = JSON.stringify({ messages: [{ role: "user", content: france }], temperature: 0 });
  const answer = await curl("-d", body, `${api.url}/v1/chat/completions`);
  t.notRegex(answer, /\n/);
  t.is(JSON.parse(answer).choices[0].message.content, paris);
  const stream = await curl("-N", "-d", body.replace("{", '{"stream":true,'), `${api.url}/v1/chat/completions`);
  t.true(stream.endsWith("data: [DONE]\n\n"));
  const { error } = JSON.parse(await curl("-d", "{", `${api.url}/v1/chat/completions`));
  t.is(error.message, "The body is not valid JSON: it ends too early (byte 1).");
});

test("a chat interface: the list of models, a turn with calls in its history, a title", async (t) => {
  const headers = { Authorization: `Bearer ${testKey}` };
  const { data } = await jsonOf(await fetch(`${api.url}/v1/models`, { headers }));
  const model = data[0].id;
  const call = { index: 0, id: "call_1", type: "function", function: { name: "get_weather", arguments: "" } };
  const messages = [
    { role: "system", content: "You are brief." },
    { role: "user", content: "What is the weather in Paris?" },
    { role: "assistant", content: "", tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "sunny" },
    { role: "assistant", content: "It is sunny.", reasoning_content: "I look." },
    { role: "user", content: [{ type: "text", text: france }] },
  ];
  const extras = { session_id: "s", chat_id: "c", features: { web_search: false }, background_tasks: {}, params: {} };
  const turn = { stream: true, model, messages, stream_options: { include_usage: true }, temperature: 0, ...extras };
  const answer = await api.post("/v1/chat/completions", turn);
  t.is(answer.headers.get("x-ignored-parameters"), "session_id, chat_id, features, background_tasks, params");
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith("data: "));
  t.is(lines.at(-1), "data: [DONE]");
  const chunks = lines.slice(0, -1).map((line) => JSON.parse(line.slice("data: ".length)));
  t.true(chunks.some(({ choices }) => choices[0]?.delta.reasoning_content));
  t.true(chunks.at(-1).usage.total_tokens > 0);
  const title = { model, messages: [{ role: "user", content: "Hello" }], stream: false, max_completion_tokens: 5 };
  t.is((await jsonOf(await api.post("/v1/chat/completions", title))).choices.length, 1);
});
