// /v1/responses through the official client, over a real socket and the mock engine.
import test from "ava";
import type OpenAI from "openai";
import { APIError, BadRequestError, InternalServerError } from "openai";
import { streamOf } from "../../src/api/responses.ts";
import type { Route } from "../../src/api/routes.ts";
import type { ChatPrompt } from "../../src/engine/engine.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { EventStream, type StartTimer } from "../../src/http/event-stream.ts";
import { createHead } from "../../src/openai/answer.ts";
import { ResponseAnswer } from "../../src/openai/responses-events.ts";
import { parseResponsesRequest } from "../../src/openai/responses-request.ts";
import { gate, startMockApi } from "../helpers/mock-api.ts";
import { atOnce, testLimits } from "../helpers/parsing.ts";
import { jsonOf, startServer, testConfig, withKey } from "../helpers/server.ts";

type Event = OpenAI.Responses.ResponseStreamEvent;

const say = (...words: string[]) => words.map((text): MockStep => ({ text }));
const hello = { model: "any", input: "Hello" } satisfies OpenAI.Responses.ResponseCreateParams;
const script = (): MockStep[] => [{ text: "Hm", kind: "reasoning" }, { text: "Grüße\n" }, { text: "you" }];

/** All events of a stream; what it throws at its end is given beside them. */
async function read(stream: AsyncIterable<Event>): Promise<{ events: Event[]; error: unknown }> {
  const events: Event[] = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return { events, error };
  }
  return { events, error: undefined };
}

test("a plain answer", async (t) => {
  const { client } = await startMockApi(t, { script });
  const { data, response } = await client.responses.create({ ...hello, metadata: { a: "b" } }).withResponse();
  t.regex(data.id, /^resp_[A-Za-z0-9]{24}$/);
  t.like(data, {
    object: "response",
    model: "served",
    status: "completed",
    metadata: { a: "b" },
    temperature: 1,
    store: false,
    background: false,
    output_text: "Grüße\nyou",
  });
  t.deepEqual(
    data.output.map(({ type }) => type),
    ["reasoning", "message"],
  );
  t.like(data.usage, { output_tokens: 4, output_tokens_details: { reasoning_tokens: 1 } });
  t.is(response.headers.get("x-ignored-parameters"), null);
});

test("the events of a stream are numbered without gaps and add up to the plain answer", async (t) => {
  const { client } = await startMockApi(t, { script });
  const plain = await client.responses.create(hello);
  const { events } = await read(await client.responses.create({ ...hello, stream: true }));
  t.deepEqual(
    events.map(({ sequence_number }) => sequence_number),
    [...events.keys()],
  );
  const deltas = events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : []));
  t.is(deltas.join(""), plain.output_text);
  const last = events.at(-1)!;
  t.is(last.type, "response.completed");
  if (last.type === "response.completed") t.deepEqual(last.response.usage, plain.usage);
});

test("the client's own accumulator understands a stream", async (t) => {
  const { client } = await startMockApi(t, { script });
  const stream = client.responses.stream(hello);
  const snapshots: string[] = [];
  stream.on("response.output_text.delta", ({ snapshot }) => snapshots.push(snapshot));
  const final = await stream.finalResponse();
  t.is(final.output_text, "Grüße\nyou");
  t.deepEqual(snapshots, ["Grüße\n", "Grüße\nyou"]);
});

test("a stream, byte for byte", async (t) => {
  const { post } = await startMockApi(t, { script: () => say("é") });
  const answer = await post("/v1/responses", { input: "Hi", stream: true });
  t.is(answer.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const text = (await answer.text())
    .replace(/"(resp|msg)_[A-Za-z0-9]{24}"/g, '"$1_X"')
    .replace(/"(created_at|completed_at)":\d+/g, '"$1":1');
  const common =
    '"instructions":null,"max_output_tokens":null,"metadata":{},"model":"served","output":OUTPUT,"parallel_tool_calls":true,' +
    '"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,"temperature":1,' +
    '"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled","usage":USAGE}';
  const response = (status: string, completed: string, output: string, usage: string) =>
    `{"id":"resp_X","object":"response","created_at":1,"completed_at":${completed},"status":"${status}","background":false,` +
    `"error":null,"incomplete_details":null,${common.replace("OUTPUT", output).replace("USAGE", usage)}`;
  const begun = response("in_progress", "null", "[]", "null");
  const item = (status: string, content: string) =>
    `{"type":"message","id":"msg_X","role":"assistant","status":"${status}","content":${content}}`;
  const part = (text: string) => `{"type":"output_text","text":"${text}","annotations":[],"logprobs":[]}`;
  const place = '"item_id":"msg_X","output_index":0,"content_index":0';
  const done = item("completed", `[${part("é")}]`);
  const usage =
    '{"input_tokens":21,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":23}';
  const events: [name: string, members: string][] = [
    ["response.created", `"response":${begun}`],
    ["response.in_progress", `"response":${begun}`],
    ["response.output_item.added", `"output_index":0,"item":${item("in_progress", "[]")}`],
    ["response.content_part.added", `${place},"part":${part("")}`],
    ["response.output_text.delta", `${place},"delta":"é","logprobs":[]`],
    ["response.output_text.done", `${place},"text":"é","logprobs":[]`],
    ["response.content_part.done", `${place},"part":${part("é")}`],
    ["response.output_item.done", `"output_index":0,"item":${done}`],
    ["response.completed", `"response":${response("completed", "1", `[${done}]`, usage)}`],
  ];
  const bytes = events.map(
    ([name, members], number) => `event: ${name}\ndata: {"type":"${name}","sequence_number":${number},${members}}\n\n`,
  );
  t.is(text, bytes.join(""));
});

test("a limit cuts the answer: incomplete, in both forms", async (t) => {
  const { client } = await startMockApi(t, { script: () => say("a", "b", "c") });
  const body = { ...hello, max_output_tokens: 2 };
  const plain = await client.responses.create(body);
  t.like(plain, {
    status: "incomplete",
    incomplete_details: { reason: "max_output_tokens" },
    output_text: "ab",
    max_output_tokens: 2,
  });
  const { events } = await read(await client.responses.create({ ...body, stream: true }));
  t.is(events.at(-1)!.type, "response.incomplete");
});

test("input of every kind reaches the prompt in order, with the instructions first", async (t) => {
  const prompts: string[] = [];
  const { client, engine } = await startMockApi(t, {
    script: ({ prompt }) => {
      prompts.push(Buffer.from(engine.detokenize(prompt)).toString());
      return [];
    },
  });
  await client.responses.create({
    model: "m",
    instructions: "Be brief.",
    input: [
      { role: "developer", content: "No jokes." },
      { role: "user", content: [{ type: "input_text", text: "One" }] },
      { type: "reasoning", id: "rs_1", summary: [] },
      { type: "message", role: "assistant", content: "Two" },
      { role: "user", content: "Three" },
    ],
  });
  t.deepEqual(prompts, ["system: Be brief.\n\nNo jokes.\nuser: One\nassistant: Two\nuser: Three\nassistant: "]);
});

const weather = {
  type: "function",
  name: "weather",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
} satisfies OpenAI.Responses.FunctionTool;

const callTwice = (): MockStep[] => [
  { text: "Let me see." },
  { call: 0, name: "weather", arguments: "" },
  { call: 0, arguments: '{"city":' },
  { call: 0, arguments: '"Rome"}' },
  { call: 1, name: "weather", arguments: "" },
];

test("function calls, plain and streamed; the client's accumulator parses their arguments", async (t) => {
  const { client } = await startMockApi(t, { script: callTwice });
  const body = { ...hello, tools: [{ ...weather, strict: false }] };
  const plain = await client.responses.create(body);
  const streamed = await client.responses.stream(body).finalResponse();
  for (const { output } of [plain, streamed]) {
    t.deepEqual(
      output.map((item) => (item.type === "function_call" ? [item.name, item.arguments, item.status] : item.type)),
      ["message", ["weather", '{"city":"Rome"}', "completed"], ["weather", "{}", "completed"]],
    );
    const ids = output.flatMap((item) => (item.type === "function_call" ? [item.id, item.call_id] : []));
    t.is(new Set(ids).size, 4);
  }
  const { events } = await read(await client.responses.create({ ...body, stream: true }));
  const deltas = events.flatMap((event) => (event.type === "response.function_call_arguments.delta" ? [event] : []));
  t.deepEqual(
    deltas.map(({ delta, output_index }) => [output_index, delta]),
    [
      [1, '{"city":'],
      [1, '"Rome"}'],
      [2, "{}"],
    ],
  );
});

test("a strict function's arguments are parsed by the client's parse()", async (t) => {
  const { client } = await startMockApi(t, { script: () => callTwice().slice(1, 4) });
  const { output } = await client.responses.parse({ ...hello, tools: [weather], tool_choice: "required" });
  t.like(output[0], { type: "function_call", parsed_arguments: { city: "Rome" } });
});

test("an answer's items can be sent back with the outputs of its calls", async (t) => {
  const seen: ChatPrompt[] = [];
  const { client } = await startMockApi(t, { script: callTwice, onRender: (prompt) => void seen.push(prompt) });
  const first = await client.responses.create({ ...hello, tools: [weather] });
  const calls = first.output.flatMap((item) => (item.type === "function_call" ? [item] : []));
  await client.responses.create({
    ...hello,
    tools: [weather],
    input: [
      { role: "user", content: "Hello" },
      ...(first.output as OpenAI.Responses.ResponseInputItem[]),
      ...calls.map(({ call_id }) => ({ type: "function_call_output" as const, call_id, output: "sunny" })),
    ],
  });
  t.like(seen[1]!.messages[1], {
    role: "assistant",
    content: "Let me see.",
    toolCalls: calls.map(({ call_id: id, name, arguments: text }) => ({ id, name, arguments: text })),
  });
  t.deepEqual(
    seen[1]!.messages.slice(2).map(({ role, content }) => [role, content]),
    [
      ["tool", "sunny"],
      ["tool", "sunny"],
    ],
  );
});

test("a call cut by the limit is incomplete and keeps what there was of its arguments", async (t) => {
  const { client } = await startMockApi(t, { script: callTwice });
  const { status, output } = await client.responses.create({ ...hello, tools: [weather], max_output_tokens: 3 });
  t.is(status, "incomplete");
  t.like(output[1], { type: "function_call", arguments: '{"city":', status: "incomplete" });
});

test("log-probabilities come with the text they belong to, and all of them in the plain answer", async (t) => {
  const { client } = await startMockApi(t, {
    script: () => [{ text: "Hm", kind: "reasoning" }, { text: "Hi" }, { text: " you" }],
  });
  const include = ["message.output_text.logprobs" as const];
  const body = { ...hello, include, top_logprobs: 2 };
  const { output } = await client.responses.create(body);
  const message = output.find((item) => item.type === "message")!;
  const [part] = message.content;
  if (part?.type !== "output_text") return t.fail();
  t.deepEqual(
    part.logprobs!.map(({ token, top_logprobs }) => [token, top_logprobs.length]),
    [
      ["Hi", 2],
      [" you", 2],
    ],
  );
  const { events } = await read(await client.responses.create({ ...body, stream: true }));
  const streamed = events.flatMap((event) => (event.type === "response.output_text.delta" ? event.logprobs : []));
  t.deepEqual(streamed as unknown[], part.logprobs!);
  const done = events.find((event) => event.type === "response.output_text.done");
  t.deepEqual(done?.logprobs as unknown[], part.logprobs!);
});

test("timings and the prompt stand beside the final response", async (t) => {
  const { post } = await startMockApi(t, { script });
  const body = { input: "Hi", verbose: true };
  const plain = await jsonOf(await post("/v1/responses", body));
  t.is(plain.__verbose.prompt, "user: Hi\nassistant: ");
  t.is(plain.timings.predicted_n, 4);
  const text = await (await post("/v1/responses", { ...body, stream: true })).text();
  const last = JSON.parse(text.trimEnd().split("\n").at(-1)!.slice("data: ".length));
  t.deepEqual(Object.keys(last), ["type", "sequence_number", "response", "timings", "__verbose"]);
});

test("what would need a store is refused by name", async (t) => {
  const { client } = await startMockApi(t);
  const cases: [OpenAI.Responses.ResponseCreateParamsNonStreaming, string][] = [
    [{ ...hello, store: true }, "store"],
    [{ ...hello, previous_response_id: "resp_1" }, "previous_response_id"],
    [{ ...hello, conversation: "conv_1" }, "conversation"],
    [{ ...hello, background: true }, "background"],
    [{ ...hello, truncation: "auto" }, "truncation"],
    [{ ...hello, prompt: { id: "pmpt_1" } }, "prompt"],
    [{ ...hello, input: [{ type: "item_reference", id: "msg_1" }] }, "input[0]"],
    [
      {
        ...hello,
        input: [{ role: "user", content: [{ type: "input_image", detail: "auto", image_url: "http://x/y.png" }] }],
      },
      "input[0].content[0]",
    ],
  ];
  for (const [body, param] of cases) {
    const error = await t.throwsAsync(client.responses.create(body), { instanceOf: BadRequestError });
    t.is(error.param, param);
    t.regex(error.code!, /^unsupported_(parameter|value)$/);
  }
  await t.notThrowsAsync(
    client.responses.create({ ...hello, store: false, truncation: "disabled", background: false }),
  );
});

test("fields without effect are accepted; those that a caller might miss are told", async (t) => {
  const { post } = await startMockApi(t);
  const answer = await post("/v1/responses", {
    input: "Hi",
    prompt_cache_key: "k",
    safety_identifier: "s",
    client_metadata: { a: 1 },
    include: ["reasoning.encrypted_content", "file_search_call.results"],
    text: { verbosity: "low" },
    reasoning: { summary: "auto" },
    stream: true,
    stream_options: { include_obfuscation: false },
  });
  t.is(answer.status, 200);
  const reported = "client_metadata, include=file_search_call.results, text.verbosity";
  t.is(answer.headers.get("x-ignored-parameters"), reported);
  t.false((await answer.text()).includes("[DONE]"));
});

test("a failure before the head is an ordinary error, after it an error event and response.failed", async (t) => {
  const failure = new Failure("generation_failed", "The engine failed.");
  const early = await startMockApi(t, { script: () => [{ fail: failure }] });
  const stream = { ...hello, stream: true } as const;
  await t.throwsAsync(early.client.responses.create(stream), { instanceOf: InternalServerError });

  const late = await startMockApi(t, { script: () => [{ text: "Half" }, { fail: failure }] });
  const { events, error } = await read(await late.client.responses.create(stream));
  t.true(error instanceof APIError);
  t.is((error as APIError).code, "generation_failed");
  t.is(events.at(-1)!.type, "response.output_text.delta");
  const text = await (await late.post("/v1/responses", stream)).text();
  t.deepEqual(
    [...text.matchAll(/^event: (.*)$/gm)].slice(-2).map(([, name]) => name),
    ["error", "response.failed"],
  );
});

test("a client that leaves ends its generation", async (t) => {
  const never = gate();
  const { client, engine } = await startMockApi(t, { script: () => [{ text: "a" }, { wait: never.promise }] });
  const stream = await client.responses.create({ ...hello, stream: true });
  for await (const event of stream) if (event.type === "response.output_text.delta") break;
  while (engine.ended.aborted === 0) await new Promise((resolve) => setImmediate(resolve));
  t.is(engine.running, 0);
});

test("a prompt that does not fit names 'input'", async (t) => {
  const { post } = await startMockApi(t, { contextTokens: 128 });
  const answer = await post("/v1/responses", { input: "x".repeat(200) });
  t.is(answer.status, 400);
  t.like(await jsonOf(answer), { error: { code: "context_length_exceeded", param: "input" } });
});

test("silence brings a ping and a keepalive, the first time after the response has begun", async (t) => {
  const { model } = (await startMockApi(t)).engine;
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const handler: Route["handler"] = async (ctx) => {
    const { echo } = atOnce(parseResponsesRequest({ input: "Hi" }, { ...testLimits, config: testConfig() }));
    const form = new ResponseAnswer(createHead("resp_", model), echo);
    let silence = () => {};
    const startTimer: StartTimer = (_ms, onSilence) => {
      silence = onSilence;
      return { restart: () => {}, stop: () => {} };
    };
    const stream = new EventStream(ctx.res, { signal: ctx.state.signal, form: streamOf(form), startTimer });
    ctx.respond = false;
    silence();
    silence();
    const delta = { type: "delta", parts: [{ kind: "content", text: "a" }] } as const;
    for (const event of form.chunks({ choice: 0, event: delta })) await stream.send(event);
    silence();
    await stream.fail(new Failure("draining", "bye"));
  };
  const server = await startServer({ heartbeat }, [{ method: "POST", path: "/stream", class: "key", handler }]);
  t.teardown(() => server.close());
  const answer = await fetch(`${server.url}/stream`, { method: "POST", headers: withKey });
  const text = await answer.text();
  const lines = text.split("\n").filter((line) => line.startsWith("event: ") || line.startsWith(":"));
  t.deepEqual(lines, [
    "event: response.created",
    "event: response.in_progress",
    ": ping",
    "event: keepalive",
    ": ping",
    "event: keepalive",
    "event: response.output_item.added",
    "event: response.content_part.added",
    "event: response.output_text.delta",
    ": ping",
    "event: keepalive",
    "event: error",
    "event: response.failed",
  ]);
  const numbers = [...text.matchAll(/^data: \{"type":"[a-z_.]+","sequence_number":(\d+)/gm)].map(([, n]) => Number(n));
  t.deepEqual(numbers, [...numbers.keys()]);
  t.true(text.includes('event: keepalive\ndata: {"type":"keepalive","sequence_number":2}\n\n'));
});
