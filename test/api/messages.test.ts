// /v1/messages and its token counting through the official client, over a real socket and the mock engine.

import Anthropic, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "@anthropic-ai/sdk";
import test, { type ExecutionContext } from "ava";
import type { ChatPrompt, GenerationRequest } from "../../src/engine/engine.ts";
import type { MockEngineOptions, MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { jsonOf, startServer, testKey } from "../helpers/server.ts";

const hello = {
  model: "any",
  max_tokens: 100,
  messages: [{ role: "user", content: "Hello" }],
} satisfies Anthropic.MessageCreateParams;

const say = (...words: string[]) => words.map((text): MockStep => ({ text }));

/** The mock's prompt of `hello` has so many tokens. */
const helloTokens = 24;

async function start(t: ExecutionContext, options: MockEngineOptions = {}, env: Record<string, string> = {}) {
  const { engine, server, post } = await startMockApi(t, options, env);
  const client = new Anthropic({ apiKey: testKey, baseURL: server.url, maxRetries: 0 });
  return { engine, server, post, client };
}

test("a plain answer", async (t) => {
  const { client } = await start(t, { script: () => say("Hi", " there") });
  const { data, request_id } = await client.messages.create(hello).withResponse();
  t.regex(data.id, /^msg_[A-Za-z0-9]{24}$/);
  t.deepEqual({ ...data }, {
    id: data.id,
    type: "message",
    role: "assistant",
    model: "served",
    content: [{ type: "text", text: "Hi there" }],
    stop_reason: "end_turn",
    stop_sequence: null,
    usage: {
      input_tokens: helloTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: 3,
      output_tokens_details: { thinking_tokens: 0 },
    },
  } as unknown as typeof data);
  t.regex(request_id!, /^req_/);
});

test("the key may come as x-api-key or as a bearer, with any version and betas", async (t) => {
  const { server } = await start(t);
  for (const key of [{ apiKey: testKey }, { apiKey: null, authToken: testKey }]) {
    const client = new Anthropic({ ...key, baseURL: server.url, maxRetries: 0 });
    const headers = { "anthropic-version": "2099-01-01", "anthropic-beta": "unheard-of-2099" };
    t.is((await client.messages.create(hello, { headers })).type, "message");
  }
});

test("the client's own accumulator gets the same message out of a stream", async (t) => {
  const script = (): MockStep[] => [{ text: "Hm", kind: "reasoning" }, { text: "Hi" }, { text: " you" }];
  const { client } = await start(t, { script });
  const whole = await client.messages.create(hello);
  const stream = client.messages.stream(hello);
  const texts: string[] = [];
  stream.on("text", (text) => texts.push(text));
  const streamed = await stream.finalMessage();
  t.deepEqual(texts, ["Hi", " you"]);
  t.like(streamed, { ...whole, id: streamed.id });
  t.deepEqual(whole.content as unknown, [
    { type: "thinking", thinking: "Hm", signature: "" },
    { type: "text", text: "Hi you" },
  ]);
  t.is(whole.usage.output_tokens_details?.thinking_tokens, 1);
});

test("every delta the client gives out adds up to the answer, for many answers", async (t) => {
  const { client } = await start(t);
  for (let i = 0; i < 20; i++) {
    const body = { ...hello, temperature: 0, messages: [{ role: "user" as const, content: `question ${i}` }] };
    const whole = await client.messages.create(body);
    let text = "";
    for await (const event of await client.messages.create({ ...body, stream: true })) {
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") text += event.delta.text;
    }
    t.deepEqual(whole.content as unknown, [{ type: "text", text }]);
  }
});

/** The body of a stream as it came over a socket. */
async function rawStream(port: number, body: object): Promise<{ head: string; text: string }> {
  const connection = new RawConnection(port);
  const json = JSON.stringify({ ...hello, stream: true, ...body });
  const lines = [`x-api-key: ${testKey}`, "Connection: close", `Content-Length: ${Buffer.byteLength(json)}`];
  connection.write(head("POST /v1/messages?beta=true HTTP/1.1", ...lines) + json);
  await connection.closed;
  const end = connection.received.indexOf("\r\n\r\n");
  const chunks = connection.received.slice(end + 4).split(/\r\n(?:[0-9a-f]+\r\n)?|^[0-9a-f]+\r\n/);
  const text = Buffer.from(chunks.join(""), "latin1").toString();
  return { head: connection.received.slice(0, end), text: text.replace(/msg_[A-Za-z0-9]{24}/, "msg_X") };
}

const frame = (json: string) => `event: ${JSON.parse(json).type}\ndata: ${json}\n\n`;

const startFrame = frame(
  `{"type":"message_start","message":{"id":"msg_X","type":"message","role":"assistant","model":"served","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":${helloTokens},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"output_tokens_details":{"thinking_tokens":0}}}}`,
);

test("a stream, byte for byte", async (t) => {
  const { server } = await start(t, { script: () => [{ text: "Hm", kind: "reasoning" }, { text: "Grüße\n" }] });
  const { head, text } = await rawStream(server.port, { zz: 1 });
  t.is(
    text,
    [
      startFrame,
      frame('{"type":"ping"}'),
      frame(
        '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
      ),
      frame('{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}'),
      frame('{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":""}}'),
      frame('{"type":"content_block_stop","index":0}'),
      frame('{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}'),
      frame('{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Grüße\\n"}}'),
      frame('{"type":"content_block_stop","index":1}'),
      frame(
        `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":${helloTokens},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":3,"output_tokens_details":{"thinking_tokens":1}}}`,
      ),
      frame('{"type":"message_stop"}'),
    ].join(""),
  );
  t.regex(head, /\r\ncontent-type: text\/event-stream; charset=utf-8\r\n/i);
  t.regex(head, /\r\nrequest-id: req_/i);
  t.regex(head, /\r\nx-ignored-parameters: zz\r\n/i);
  t.notRegex(head, /content-length/i);
});

test("a failure after the head is the last event; open blocks stay open", async (t) => {
  const fail = new Failure("generation_failed", "The engine failed.");
  const { server, client } = await start(t, { script: () => [{ text: "a" }, { fail }] });
  const { text } = await rawStream(server.port, {});
  const error =
    '{"type":"error","error":{"type":"api_error","message":"The engine failed.","param":null,"code":"generation_failed"}}';
  t.true(text.endsWith(`"text":"a"}}\n\n${frame(error)}`));
  const thrown = await t.throwsAsync(client.messages.stream(hello).finalMessage(), { instanceOf: APIError });
  t.is((thrown as APIError).type, "api_error");
});

const tool = {
  name: "f",
  input_schema: { type: "object", properties: { a: { type: "integer" } } },
} satisfies Anthropic.Tool;

test("tool calls, streamed and whole, and their results sent back", async (t) => {
  const prompts: ChatPrompt[] = [];
  const script = (): MockStep[] => [
    { text: "I call" },
    { call: 0, name: "f", arguments: "" },
    { call: 0, arguments: '{"a":' },
    { call: 0, arguments: "1}" },
    { call: 1, name: "f", arguments: '{"a":2}' },
  ];
  const { client, engine } = await start(t, { script });
  const render = engine.renderChat.bind(engine);
  engine.renderChat = (prompt) => {
    prompts.push(prompt);
    return render(prompt);
  };
  const body = { ...hello, tools: [tool] };
  const whole = await client.messages.create(body);
  const streamed = await client.messages.stream(body).finalMessage();
  const [, first, second] = whole.content as Anthropic.ToolUseBlock[];
  const content = [
    { type: "text", text: "I call" },
    { type: "tool_use", name: "f", input: { a: 1 } },
    { type: "tool_use", name: "f", input: { a: 2 } },
  ];
  for (const message of [whole, streamed]) {
    t.is(message.stop_reason, "tool_use");
    t.like(message.content, content as unknown as Anthropic.ContentBlock[]);
  }
  const result = { type: "tool_result" as const, tool_use_id: first!.id, content: "one" };
  const history: Anthropic.MessageParam[] = [
    ...hello.messages,
    { role: "assistant", content: whole.content },
    { role: "user", content: [{ type: "tool_result", tool_use_id: second!.id }, result] },
  ];
  await client.messages.create({ ...body, messages: history });
  t.deepEqual(prompts.at(-1)!.messages, [
    { role: "user", content: "Hello" },
    {
      role: "assistant",
      content: "I call",
      toolCalls: [
        { id: first!.id, name: "f", arguments: '{"a":1}' },
        { id: second!.id, name: "f", arguments: '{"a":2}' },
      ],
    },
    { role: "tool", toolCallId: first!.id, content: "one" },
    { role: "tool", toolCallId: second!.id, content: "" },
  ]);
  t.like(prompts.at(-1), { toolChoice: "auto", tools: [{ name: "f" }] });
});

test("a cut call is dropped from a whole answer; its block ends in a stream", async (t) => {
  const script = (): MockStep[] => [{ text: "a" }, { call: 0, name: "f", arguments: '{"a":' }];
  const { client, post } = await start(t, { script });
  const body = { ...hello, tools: [tool], max_tokens: 2 };
  const whole = await client.messages.create(body);
  t.deepEqual(whole.content as unknown, [{ type: "text", text: "a" }]);
  t.is(whole.stop_reason, "max_tokens");
  const streamed = await (await post("/v1/messages", { ...body, stream: true })).text();
  t.true(streamed.includes('"partial_json":"{\\"a\\":"'));
  t.is(streamed.split("event: content_block_stop\n").length, 3);
});

test("why an answer stopped", async (t) => {
  const { client } = await start(
    t,
    { script: () => say("a", "b", "c"), contextTokens: 26 },
    { MAX_OUTPUT_TOKENS: "0" },
  );
  const stop = async (fields: object) => {
    const { stop_reason, stop_sequence, content } = await client.messages.create({ ...hello, ...fields });
    return [stop_reason, stop_sequence, (content[0] as Anthropic.TextBlock).text];
  };
  t.deepEqual(await stop({ max_tokens: 1 }), ["max_tokens", null, "a"]);
  t.deepEqual(await stop({ max_tokens: 2 }), ["max_tokens", null, "ab"]);
  t.deepEqual(await stop({ max_tokens: 20_000 }), ["model_context_window_exceeded", null, "ab"]);
  t.deepEqual(await stop({ stop_sequences: ["b", "z"] }), ["stop_sequence", "b", "a"]);
  t.deepEqual(await stop({ max_tokens: 0 }), ["max_tokens", null, ""]);
});

test("an operator's cap is no full context", async (t) => {
  const { client } = await start(t, { script: () => say("a", "b", "c") }, { MAX_OUTPUT_TOKENS: "2" });
  t.is((await client.messages.create(hello)).stop_reason, "max_tokens");
});

test("what crosses the seam", async (t) => {
  const requests: GenerationRequest[] = [];
  const script = (request: GenerationRequest) => {
    requests.push(request);
    return [];
  };
  const { client, post } = await start(t, { script });
  await client.messages.create({ ...hello, temperature: 0.5, top_p: 0.25, top_k: 5, stop_sequences: ["x"] });
  t.like(requests[0], { maxTokens: 100, stop: ["x"], cacheScope: "test" });
  t.like(requests[0]!.sampling, { temperature: 0.5, topP: 0.25, topK: 5 });
  await post("/v1/messages", { ...hello, seed: 3, min_p: 0.2, logit_bias: { "5": -100 } });
  t.like(requests[1]!.sampling, { seed: 3, minP: 0.2, logitBias: [[5, -100]] });
});

test("tokens are counted without generating, without max_tokens, and beyond the context", async (t) => {
  const { client, engine, post } = await start(t, { contextTokens: 10 });
  t.deepEqual({ ...(await client.messages.countTokens({ model: "m", messages: hello.messages })) }, {
    input_tokens: helloTokens,
  } as Anthropic.MessageTokensCount);
  const response = await post("/v1/messages/count_tokens?beta=true", { ...hello, system: "be kind", zz: 1 });
  t.is(response.headers.get("x-ignored-parameters"), "zz");
  t.truthy(response.headers.get("request-id"));
  t.true((await jsonOf(response)).input_tokens > helloTokens);
  t.deepEqual(engine.ended, { finished: 0, aborted: 0, failed: 0 });
});

test("refusals are the client's own error classes, with Anthropic's shape and the request's id", async (t) => {
  const { client, post, server } = await start(t, { contextTokens: helloTokens });
  const bad = await t.throwsAsync(
    client.messages.create({ ...hello, messages: [{ role: "user", content: [{ type: "image" }] }] } as never),
    { instanceOf: BadRequestError },
  );
  t.like(bad, { status: 400, type: "invalid_request_error" });
  const { request_id, ...body } = (bad as APIError).error as { request_id: string };
  t.is(request_id, (bad as APIError).requestID!);
  t.deepEqual(body, {
    type: "error",
    error: {
      type: "invalid_request_error",
      message:
        "messages.0.content.0: 'messages[0].content[0]' is not supported by this server: image input is not supported.",
      param: "messages[0].content[0]",
      code: "unsupported_value",
    },
  });
  const long = await t.throwsAsync(client.messages.create(hello), { instanceOf: BadRequestError });
  t.like((long as APIError).error, {
    error: {
      message: `prompt is too long: ${helloTokens} tokens > ${helloTokens} maximum`,
      code: "context_length_exceeded",
      n_prompt_tokens: helloTokens,
      n_ctx: helloTokens,
    },
  });
  const stranger = new Anthropic({ apiKey: "sk-wrong-0123456789abc", baseURL: server.url, maxRetries: 0 });
  const unknown = await t.throwsAsync(stranger.messages.create(hello), { instanceOf: AuthenticationError });
  t.like(unknown, { status: 401, type: "authentication_error" });
  t.truthy((unknown as APIError).requestID);
  const nowhere = await t.throwsAsync(client.messages.batches.retrieve("x"), { instanceOf: NotFoundError });
  t.is((nowhere as APIError).type, "not_found_error");
  const got = await fetch(`${server.url}/v1/messages`, { headers: { "x-api-key": testKey } });
  t.is(got.status, 405);
  t.like(await jsonOf(got), { type: "error", error: { type: "invalid_request_error", code: "method_not_allowed" } });
  const broken = await post("/v1/messages/count_tokens", {}, { body: "{" });
  t.like(await jsonOf(broken), { type: "error", error: { code: "invalid_json", param: null } });
  const zipped = await post("/v1/messages", hello, { headers: { "x-api-key": testKey, "content-encoding": "gzip" } });
  t.is(zipped.status, 415);
  t.is((await jsonOf(zipped)).type, "error");
});

test("other paths keep OpenAI's shape", async (t) => {
  const { server } = await start(t);
  for (const path of ["/v1/messagesx", "/v1/message", "/v1/models", "/x/v1/messages"]) {
    const answer = await fetch(server.url + path);
    t.deepEqual(Object.keys(await jsonOf(answer)), ["error"], path);
    t.is(answer.headers.get("request-id"), null);
  }
});

test("while the model loads the answer is 503 overloaded_error", async (t) => {
  const server = await startServer({ heartbeat: new Heartbeat() });
  t.teardown(server.close);
  const client = new Anthropic({ apiKey: testKey, baseURL: server.url, maxRetries: 0 });
  const error = await t.throwsAsync(client.messages.create(hello), { instanceOf: InternalServerError });
  t.like(error, { status: 503, type: "overloaded_error" });
  t.truthy((error as APIError).headers?.get("retry-after"));
});

test("a full queue is Anthropic's 529, a failure of the engine 500", async (t) => {
  const failures = [
    new Failure("queue_full", "Too many requests are waiting, try again in 5s.", { headers: { "Retry-After": "5" } }),
    new Failure("queue_timeout", "No sequence was free in time, try again in 5s."),
    new Failure("generation_failed", "The engine failed."),
  ];
  const { client } = await start(t, { script: () => [{ fail: failures.shift() }] });
  for (const [status, type] of [
    [529, "overloaded_error"],
    [529, "overloaded_error"],
    [500, "api_error"],
  ] as const) {
    const error = await t.throwsAsync(client.messages.create({ ...hello, stream: true }));
    t.like(error, { status, type });
    t.is((error as APIError).headers?.get("retry-after"), status === 529 && failures.length === 2 ? "5" : null);
  }
});

test("the client retries what may pass later, as soon as it is told, and nothing else", async (t) => {
  let calls = 0;
  const soon = { headers: { "Retry-After": "1", "retry-after-ms": "5" } };
  const failures = [
    new Failure("rate_limit_exceeded", "Too many requests, try again in 1s.", soon),
    new Failure("queue_full", "Too many requests are waiting, try again in 1s.", soon),
  ];
  const script = (): MockStep[] => {
    const fail = failures[calls++];
    return fail ? [{ fail }] : [{ text: "a" }];
  };
  const { server } = await start(t, { script });
  const client = new Anthropic({ apiKey: testKey, baseURL: server.url, maxRetries: 2 });
  t.is((await client.messages.create(hello)).type, "message");
  t.is(calls, 3);
  calls = 0;
  const error = await t.throwsAsync(client.messages.create(hello, { maxRetries: 0 }), { instanceOf: RateLimitError });
  t.is((error as APIError).type, "rate_limit_error");
  let posts = 0;
  const counting = new Anthropic({
    apiKey: testKey,
    baseURL: server.url,
    maxRetries: 2,
    fetch: (...call) => {
      posts += 1;
      return fetch(...call);
    },
  });
  await t.throwsAsync(counting.messages.create({ ...hello, temperature: 5 }), { instanceOf: BadRequestError });
  t.is(posts, 1);
});

test("a malformed chunk in the body is refused in Anthropic's shape", async (t) => {
  const { server } = await start(t);
  const connection = new RawConnection(server.port);
  const lines = [`x-api-key: ${testKey}`, "Transfer-Encoding: chunked"];
  connection.write(`${head("POST /v1/messages HTTP/1.1", ...lines)}zz\r\n`);
  await connection.closed;
  const answer = connection.answers()[0]!;
  t.is(answer.status, 400);
  t.is(answer.headers["request-id"], answer.headers["x-request-id"]);
  t.like(JSON.parse(answer.body), {
    type: "error",
    error: { type: "invalid_request_error", code: "bad_request" },
    request_id: answer.headers["request-id"],
  });
});

test("a client that leaves frees its sequence, streaming or not", async (t) => {
  const script = (): MockStep[] => [{ text: "a" }, { wait: new Promise(() => {}) }];
  const { client, engine } = await start(t, { script });
  for (const leave of [
    async (signal: AbortSignal) => client.messages.create(hello, { signal }),
    async (signal: AbortSignal) => client.messages.stream(hello, { signal }).finalMessage(),
  ]) {
    const controller = new AbortController();
    const left = t.throwsAsync(leave(controller.signal), { instanceOf: APIUserAbortError });
    await until(() => engine.running === 1);
    controller.abort();
    await left;
    await until(() => engine.running === 0);
  }
  t.is(engine.ended.aborted, 2);
});

test("models are a page to the client", async (t) => {
  const { client } = await start(t);
  const ids: string[] = [];
  for await (const model of client.models.list()) ids.push(model.id);
  t.deepEqual(ids, ["served"]);
  const model = await client.models.retrieve("served");
  t.like(model, { type: "model", display_name: "served" });
  t.false(Number.isNaN(Date.parse(model.created_at)));
});

test("an agent's request: many odd tools, betas, context management, a billing header, system messages in between", async (t) => {
  const prompts: ChatPrompt[] = [];
  const { client, engine } = await start(t, { script: () => say("ok") });
  const render = engine.renderChat.bind(engine);
  engine.renderChat = (prompt) => {
    prompts.push(prompt);
    return render(prompt);
  };
  const odd = {
    $schema: "http://json-schema.org/draft-07/schema#",
    type: "object",
    properties: {
      path: { type: "string", format: "uri", description: "where" },
      lines: { type: "array", items: { type: "integer", exclusiveMinimum: 0 }, uniqueItems: true },
      mode: { anyOf: [{ const: "a" }, { enum: ["b", "c"] }, { type: "null" }] },
      rest: { type: "object", propertyNames: { type: "string" }, additionalProperties: {} },
    },
    required: ["path"],
    additionalProperties: false,
  };
  const tools = Array.from({ length: 60 }, (_, i) => ({
    name: `mcp__server-${i}__tool`,
    description: "x".repeat(500),
    input_schema: odd,
    ...(i === 59 && { cache_control: { type: "ephemeral", ttl: "1h" } }),
  }));
  const ask = (cch: string) => ({
    model: "claude-sonnet",
    max_tokens: 21_000,
    stream: true,
    temperature: 1,
    metadata: { user_id: `user_${"0".repeat(64)}_account__session_1` },
    thinking: { type: "adaptive" },
    context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
    output_config: { effort: "high" },
    system: [
      { type: "text", text: `x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=${cch};` },
      { type: "text", text: "You are an agent.", cache_control: { type: "ephemeral" } },
    ],
    tools: [...tools, { type: "web_search_20250305", name: "web_search", max_uses: 8 }],
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "<system-reminder>x</system-reminder>" },
          { type: "text", text: "go" },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "hm", signature: "" },
          {
            type: "tool_use",
            id: "toolu_1",
            name: "mcp__server-0__tool",
            input: { path: "a" },
            caller: { type: "direct" },
          },
        ],
      },
      { role: "system", content: [{ type: "text", text: "be quick" }] },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "toolu_1", content: [{ type: "text", text: "no" }], is_error: true },
          { type: "text", text: "go on", cache_control: { type: "ephemeral" } },
        ],
      },
    ],
  });
  for (const cch of ["a1b2c", "00000"]) {
    const { data, response } = await client.beta.messages
      .create({ ...ask(cch), betas: ["claude-code-20250219", "unheard-of"] } as never)
      .withResponse();
    const types: string[] = [];
    for await (const event of data as unknown as AsyncIterable<Anthropic.MessageStreamEvent>) types.push(event.type);
    t.is(types.at(-1), "message_stop");
    t.regex(response.headers.get("x-ignored-parameters")!, /^context_management, tools\[0\]\.input_schema=/);
  }
  t.deepEqual(prompts[0], prompts[1], "what is the same prompt but for its billing header can be cached");
  t.is(prompts[0]!.tools?.length, 60);
  t.deepEqual(
    prompts[0]!.messages.map(({ role }) => role),
    ["system", "user", "assistant", "tool", "system", "user"],
  );
});
