// /v1/responses with the real engine on tiny-chat, with the official client.
import test from "ava";
import type OpenAI from "openai";
import type { Engine, GenerationRequest } from "../../src/engine/engine.ts";
import { Failure } from "../../src/errors.ts";
import { until } from "../helpers/process.ts";
import { startServer, withKey } from "../helpers/server.ts";
import { startDemo } from "../helpers/server-process.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

type Events = OpenAI.Responses.ResponseStreamEvent[];

const hello = { model: "m", input: "Tell me a story.", max_output_tokens: 60 } as const;

async function read(stream: AsyncIterable<OpenAI.Responses.ResponseStreamEvent>): Promise<Events> {
  const events: Events = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("streamed and plain answers of one seed are the same; the client's accumulator agrees", async (t) => {
  const { client } = await startDemo(t);
  for (let seed = 0; seed < 5; seed++) {
    const body = { ...hello, seed, temperature: 1 };
    const plain = await client.responses.create(body);
    const events = await read(await client.responses.create({ ...body, stream: true }));
    const deltas = events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : []));
    t.is(deltas.join(""), plain.output_text);
    const last = events.at(-1)!;
    t.true(last.type === "response.completed" || last.type === "response.incomplete");
    t.deepEqual(
      events.map(({ sequence_number }) => sequence_number),
      [...events.keys()],
    );
    const { output_text, usage } = await client.responses.stream(body).finalResponse();
    t.is(output_text, plain.output_text);
    t.is(usage!.total_tokens, plain.usage!.total_tokens);
  }
});

const weather = {
  type: "function",
  name: "get_weather",
  description: "Tells the weather of a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string", maxLength: 20 } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
} satisfies OpenAI.Responses.FunctionTool;

test("a call that is required is made, streamed as well as plain, and its output can be answered", async (t) => {
  const { client } = await startTinyApi(t);
  const input: OpenAI.Responses.ResponseInput = [{ role: "user", content: "What is the weather in Paris?" }];
  const body = {
    model: "m",
    input,
    tools: [weather],
    tool_choice: "required" as const,
    seed: 3,
    max_output_tokens: 200,
  };
  const plain = await client.responses.create(body);
  t.is(plain.status, "completed");
  const calls = plain.output.flatMap((item) => (item.type === "function_call" ? [item] : []));
  t.true(calls.length > 0);
  for (const call of calls) {
    t.is(call.name, "get_weather");
    t.deepEqual(Object.keys(JSON.parse(call.arguments)), ["city"]);
  }
  const streamed = await client.responses.stream(body).finalResponse();
  t.deepEqual(
    streamed.output.map((item) => item.type === "function_call" && item.arguments),
    plain.output.map((item) => item.type === "function_call" && item.arguments),
  );
  const outputs = calls.map(({ call_id }) => ({ type: "function_call_output" as const, call_id, output: "Sunny." }));
  const answer = await client.responses.create({
    model: "m",
    input: [...input, ...(plain.output as OpenAI.Responses.ResponseInputItem[]), ...outputs],
    tools: [weather],
    tool_choice: "none",
    max_output_tokens: 40,
  });
  t.false(answer.output.some(({ type }) => type === "function_call"));
});

test("text.format holds the answer to its schema", async (t) => {
  const { client } = await startTinyApi(t);
  const schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 12 }, age: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["name", "age"],
    additionalProperties: false,
  };
  const format = { type: "json_schema", name: "person", schema, strict: true } as const;
  for (let seed = 0; seed < 3; seed++) {
    const body = { model: "m", input: "Describe a person as JSON.", text: { format }, seed };
    const plain = await client.responses.parse(body);
    t.deepEqual(Object.keys(plain.output_parsed as unknown as object).sort(), ["age", "name"]);
    const streamed = await client.responses.stream(body).finalResponse();
    t.is(streamed.output_text, plain.output_text);
  }
});

test("an answer that is cut is incomplete, one that fails ends with error and response.failed", async (t) => {
  const { client, engine } = await startTinyApi(t);
  const plain = await client.responses.create({ ...hello, max_output_tokens: 3 });
  const cut = { status: "incomplete" as const, incomplete_details: { reason: "max_output_tokens" as const } };
  t.like(plain, { ...cut, error: null, usage: { output_tokens: 3 } });
  const events = await read(await client.responses.create({ ...hello, max_output_tokens: 3, stream: true }));
  const last = events.at(-1)!;
  t.is(last.type, "response.incomplete");
  t.like((last as OpenAI.Responses.ResponseIncompleteEvent).response, cut);

  const failing = await startServer({ engine: () => failsAfter(engine, 3) });
  t.teardown(failing.close);
  const body = JSON.stringify({ ...hello, stream: true });
  const answer = await fetch(`${failing.url}/v1/responses`, { method: "POST", headers: withKey, body });
  const told = (await answer.text()).trimEnd().split("\n\n");
  const data = told.map((event) => JSON.parse(event.slice(event.indexOf("data: ") + "data: ".length)));
  t.deepEqual(
    data.slice(-2).map(({ type }) => type),
    ["error", "response.failed"],
  );
  t.like(data.at(-2), { code: "generation_failed", error: { code: "generation_failed" } });
  t.like(data.at(-1).response, { status: "failed", error: { code: "generation_failed" } });
  t.deepEqual(
    data.map(({ sequence_number }) => sequence_number),
    [...data.keys()],
  );
  await until(() => engine.slots().every(({ state }) => state === "idle"));
});

/** The engine, but for answers, which fail after so many pieces. */
function failsAfter(engine: Engine, pieces: number): Engine {
  async function* generate(request: GenerationRequest) {
    let left = pieces;
    for await (const event of engine.generate(request)) {
      yield event;
      if (event.type === "delta" && --left === 0) throw new Failure("generation_failed", "The engine failed.");
    }
  }
  const get = (_: Engine, name: keyof Engine) => {
    const own = engine[name] as unknown;
    return name === "generate" ? generate : typeof own === "function" ? own.bind(engine) : own;
  };
  return new Proxy(engine, { get: get as ProxyHandler<Engine>["get"] & object });
}
