// /v1/messages with the real engine on tiny-chat, with the official client.
import Anthropic from "@anthropic-ai/sdk";
import test from "ava";
import { testKey } from "../helpers/server.ts";
import { processKey, startDemo } from "../helpers/server-process.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

/** One engine for all of them. */
let client: Anthropic;
const teardowns: (() => unknown)[] = [];

test.before(async () => {
  const { url } = await startTinyApi({ teardown: (close) => void teardowns.push(close) });
  client = new Anthropic({ apiKey: testKey, baseURL: url, maxRetries: 0 });
});

test.after.always(async () => {
  for (const close of teardowns) await close();
});

const ask = (content: string): Anthropic.MessageParam[] => [{ role: "user", content }];
const paris = { model: "m", max_tokens: 100, messages: ask("What is the capital of France?"), temperature: 0 };

const weather = {
  name: "get_weather",
  description: "Get the weather for a city",
  input_schema: {
    type: "object",
    properties: { city: { type: "string", maxLength: 20 } },
    required: ["city"],
    additionalProperties: false,
  },
} satisfies Anthropic.Tool;

/** Without what differs from call to call. */
const settled = (content: readonly Anthropic.ContentBlock[]): object[] =>
  content.map((block) => ({ ...block, ...("id" in block && { id: "" }) }));

test("the program on the demo model answers Anthropic's client", async (t) => {
  const { port } = await startDemo(t);
  const own = new Anthropic({
    authToken: processKey,
    apiKey: null,
    baseURL: `http://127.0.0.1:${port}`,
    maxRetries: 0,
  });
  const answer = await own.messages.create(paris);
  t.is(
    answer.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join(),
    "The capital of France is Paris.",
  );
  t.is(answer.stop_reason, "end_turn");
});

test.serial("streamed and whole answers of one seed are the same, with and without thinking", async (t) => {
  for (let seed = 0; seed < 12; seed++) {
    const thinking = seed % 3 === 0 ? undefined : { type: seed % 3 === 1 ? "enabled" : "disabled", budget_tokens: 20 };
    const body = {
      ...paris,
      messages: ask("What is the weather in Rome?"),
      temperature: 1,
      seed,
      max_tokens: 60,
      ...(thinking && { thinking }),
      ...(seed % 2 === 0 && { tools: [weather] }),
    } as Anthropic.MessageCreateParamsNonStreaming;
    const whole = await client.messages.create(body);
    const streamed = await client.messages.stream(body).finalMessage();
    t.is(streamed.stop_reason, whole.stop_reason);
    t.is(streamed.usage.output_tokens, whole.usage.output_tokens);
    if (whole.stop_reason !== "max_tokens") t.deepEqual(settled(streamed.content), settled(whole.content));
    if (thinking?.type === "enabled") t.is(whole.content[0]!.type, "thinking");
    if (thinking?.type === "disabled") t.false(whole.content.some(({ type }) => type === "thinking"));
  }
});

test.serial("input counts are final in message_start: what is cached, and what is not", async (t) => {
  const body = { ...paris, system: "You know all cities. ".repeat(20), max_tokens: 3 };
  const { model, messages, system } = body;
  const { input_tokens: prompt } = await client.messages.countTokens({ model, messages, system });
  const first = await client.messages.create(body);
  // Of what was asked before it has the template's first words.
  const cached = first.usage.cache_read_input_tokens!;
  t.true(cached < 10, `${cached}`);
  t.is(first.usage.input_tokens, prompt - cached);
  const counts: number[][] = [];
  for await (const event of await client.messages.create({ ...body, stream: true })) {
    const usage = event.type === "message_start" ? event.message.usage : event.type === "message_delta" && event.usage;
    if (usage) counts.push([usage.input_tokens!, usage.cache_read_input_tokens!]);
  }
  t.deepEqual(counts, [
    [1, prompt - 1],
    [1, prompt - 1],
  ]);
});

test.serial("a tool is called, its result goes back, and the answer tells of it", async (t) => {
  const body = { ...paris, tools: [weather], messages: ask("What is the weather in Paris?"), max_tokens: 200 };
  const first = await client.messages.create(body);
  t.is(first.stop_reason, "tool_use");
  const call = first.content.find((block) => block.type === "tool_use")!;
  t.regex(call.id, /^toolu_/);
  t.like(call, { name: "get_weather", input: { city: "Paris" } });
  const second = await client.messages.create({
    ...body,
    messages: [
      ...body.messages,
      { role: "assistant", content: first.content },
      {
        role: "user",
        content: [{ type: "tool_result", tool_use_id: call.id, content: '{"temperature": 21, "condition": "sunny"}' }],
      },
    ],
  });
  t.is(second.stop_reason, "end_turn");
  const text = second.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join();
  t.regex(text, /sunny/);
});

test.serial("a forced tool is called whatever the question, streamed as well as whole", async (t) => {
  for (const [index, tool_choice] of ([{ type: "any" }, { type: "tool", name: "get_weather" }] as const).entries()) {
    for (let seed = 0; seed < 3; seed++) {
      const body = { ...paris, tools: [weather], tool_choice, temperature: 1, seed: seed + index, max_tokens: 300 };
      const whole = await client.messages.create(body);
      const streamed = await client.messages.stream(body).finalMessage();
      t.deepEqual(settled(streamed.content), settled(whole.content));
      const calls = whole.content.filter((block) => block.type === "tool_use");
      t.true(calls.length > 0);
      for (const { input } of calls) t.is(typeof (input as { city: unknown }).city, "string");
      t.false(whole.content.some(({ type }) => type === "text"));
    }
  }
  const none = await client.messages.create({
    ...paris,
    tools: [weather],
    tool_choice: { type: "none" },
    max_tokens: 60,
  });
  t.false(none.content.some(({ type }) => type === "tool_use"));
});

test.serial("an answer in JSON by a schema", async (t) => {
  const schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 10 }, age: { type: "integer", minimum: 1, maximum: 20 } },
    required: ["name", "age"],
    additionalProperties: false,
  };
  for (let seed = 0; seed < 5; seed++) {
    const body = {
      ...paris,
      temperature: 1,
      max_tokens: 300,
      seed,
      output_config: { format: { type: "json_schema", schema } },
    };
    const { content, stop_reason } = await client.messages.create(body as Anthropic.MessageCreateParamsNonStreaming);
    t.is(stop_reason, "end_turn");
    const text = content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join();
    const { name, age } = JSON.parse(text);
    t.true(typeof name === "string" && Number.isInteger(age) && age >= 1 && age <= 20, text);
  }
});

test.serial("a final assistant message is continued", async (t) => {
  const messages = [...paris.messages, { role: "assistant" as const, content: "The capital of France is" }];
  const { content } = await client.messages.create({ ...paris, messages });
  t.deepEqual(content as unknown, [{ type: "text", text: " Paris." }]);
});

test.serial("a stop sequence, the token limit and the context each end an answer by their own name", async (t) => {
  const end = async (fields: object) => {
    const { stop_reason, stop_sequence } = await client.messages.create({ ...paris, ...fields });
    return [stop_reason, stop_sequence];
  };
  t.deepEqual(await end({ stop_sequences: ["Paris"] }), ["stop_sequence", "Paris"]);
  t.deepEqual(await end({ max_tokens: 1 }), ["max_tokens", null]);
  t.deepEqual(await end({ max_tokens: 0 }), ["max_tokens", null]);
  const long = ask("Tell me a story. ".repeat(150));
  const endless = { messages: long, max_tokens: 5000, ignore_eos: true };
  t.deepEqual(await end(endless), ["model_context_window_exceeded", null]);
});
