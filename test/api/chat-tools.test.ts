// Tools, forms of the answer, log-probabilities and reports of /v1/chat/completions: the official client over the mock engine.
import test from "ava";
import type OpenAI from "openai";
import type { ChatPrompt, Constraint, GenerationRequest } from "../../src/engine/engine.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf } from "../helpers/server.ts";

const hello = {
  model: "any",
  messages: [{ role: "user", content: "Hello" }],
} satisfies OpenAI.ChatCompletionCreateParams;
const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: "function",
    function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
  },
];

const callTwice = (): MockStep[] => [
  { text: "Hm", kind: "reasoning" },
  { call: 0, name: "get_weather", arguments: "" },
  { call: 0, arguments: '{"city":' },
  { call: 0, arguments: '"Paris"}' },
  { call: 1, name: "now", arguments: "" },
];

test("calls in a plain answer: content is null, ids are ours and distinct, arguments never empty", async (t) => {
  const { client } = await startMockApi(t, { script: callTwice });
  const { choices } = await client.chat.completions.create({ ...hello, tools });
  const { message, finish_reason } = choices[0]!;
  t.is(finish_reason, "tool_calls");
  t.is(message.content, null);
  const [first, second] = message.tool_calls!;
  t.regex(first!.id, /^call_[A-Za-z0-9]{24}$/);
  t.not(first!.id, second!.id);
  t.like(first, { type: "function", function: { name: "get_weather", arguments: '{"city":"Paris"}' } });
  t.like(second, { type: "function", function: { name: "now", arguments: "{}" } });
});

test("text beside calls stays; a cut answer ends with length and holds the calls so far", async (t) => {
  const script = (): MockStep[] => [{ text: "Let me see." }, ...callTwice().slice(1)];
  const { client } = await startMockApi(t, { script });
  const whole = await client.chat.completions.create({ ...hello, tools });
  t.like(whole.choices[0], { finish_reason: "tool_calls", message: { content: "Let me see." } });
  const cut = await client.chat.completions.create({ ...hello, tools, max_tokens: 3 });
  t.like(cut.choices[0], { finish_reason: "length" });
  t.like(cut.choices[0]!.message.tool_calls, [{ function: { arguments: '{"city":' } }]);
  const untouched = await client.chat.completions.create({ ...hello, tools, max_tokens: 1 });
  t.false("tool_calls" in untouched.choices[0]!.message);
});

test("streamed calls, byte for byte", async (t) => {
  const { post } = await startMockApi(t, { script: callTwice });
  const text = await (await post("/v1/chat/completions", { ...hello, tools, stream: true })).text();
  const deltas = text
    .split("\n\n")
    .filter((frame) => frame.startsWith("data: {"))
    .map((frame) => JSON.stringify(JSON.parse(frame.slice(6)).choices[0]).replace(/call_[A-Za-z0-9]{24}/, "ID"));
  const delta = (inner: string) => `{"index":0,"delta":${inner},"logprobs":null,"finish_reason":null}`;
  const piece = (inner: string) => delta(`{"tool_calls":[${inner}]}`);
  t.deepEqual(deltas, [
    delta('{"role":"assistant","content":""}'),
    delta('{"reasoning_content":"Hm"}'),
    piece('{"index":0,"id":"ID","type":"function","function":{"name":"get_weather","arguments":""}}'),
    piece('{"index":0,"function":{"arguments":"{\\"city\\":"}}'),
    piece('{"index":0,"function":{"arguments":"\\"Paris\\"}"}}'),
    piece('{"index":1,"id":"ID","type":"function","function":{"name":"now","arguments":""}}'),
    piece('{"index":1,"function":{"arguments":"{}"}}'),
    '{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}',
  ]);
  t.true(text.endsWith("data: [DONE]\n\n"));
});

test("the client's accumulator and its tool runner understand the calls", async (t) => {
  let calls = 0;
  const script = ({ prompt }: GenerationRequest): MockStep[] => {
    calls += 1;
    return calls % 2 === 1 ? callTwice().slice(1, 4) : [{ text: `It is sunny (${prompt.length > 0}).` }];
  };
  const prompts: ChatPrompt[] = [];
  const { client } = await startMockApi(t, { script, onRender: (prompt) => prompts.push(prompt) });
  const stream = client.chat.completions.stream({ ...hello, tools, n: 1 });
  const { choices } = await stream.finalChatCompletion();
  t.like(choices[0]!.message.tool_calls, [{ function: { name: "get_weather", arguments: '{"city":"Paris"}' } }]);
  calls = 0;
  const runner = client.chat.completions.runTools({
    ...hello,
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          description: "the weather of a city",
          parse: (text: string) => JSON.parse(text) as { city: string },
          parameters: { type: "object", properties: { city: { type: "string" } } },
          function: ({ city }: { city: string }) => `sunny in ${city}`,
        },
      },
    ],
  });
  t.is(await runner.finalContent(), "It is sunny (true).");
  const { messages } = prompts.at(-1)!;
  t.like(messages.at(-1), { role: "tool", content: "sunny in Paris" });
  t.is(messages.at(-1)!.toolCallId, messages.at(-2)!.toolCalls![0]!.id);
});

test("choices of one answer have calls of their own", async (t) => {
  const { client } = await startMockApi(t, { script: callTwice });
  const { choices } = await client.chat.completions.stream({ ...hello, tools, n: 2 }).finalChatCompletion();
  const ids = choices.flatMap(({ message }) => message.tool_calls!.map((call) => call.id));
  t.is(new Set(ids).size, 4);
});

test("broken history is the client's error that names the call", async (t) => {
  const { client } = await startMockApi(t);
  const messages = [
    { role: "user", content: "u" },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }],
    },
  ] as OpenAI.ChatCompletionMessageParam[];
  const error = await t.throwsAsync(client.chat.completions.create({ model: "m", messages }));
  t.like(error, { status: 400, code: "invalid_value", param: "messages[1].tool_calls[0]" });
  t.regex(error!.message, /tool_calls/);
});

test("a sampler is prepared for every choice that is restricted, and for no other", async (t) => {
  const seen: [number, Constraint][] = [];
  const requests: GenerationRequest[] = [];
  const { client } = await startMockApi(t, {
    thinks: true,
    onPrepare: ({ seed }, constraint) => seen.push([seed, constraint]),
    script: (request) => {
      requests.push(request);
      return [{ text: "{}" }];
    },
  });
  const ask = async (fields: object) => {
    seen.length = requests.length = 0;
    await client.chat.completions.create({
      ...hello,
      seed: 5,
      ...fields,
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);
  };
  await ask({});
  t.deepEqual(seen, []);
  t.false("sampler" in requests[0]!);
  await ask({ n: 2, response_format: { type: "json_object" } });
  t.deepEqual(
    seen.map(([seed]) => seed),
    [5, 6],
  );
  t.true(seen.every(([, constraint]) => constraint.answer?.constrained && constraint.grammar === undefined));
  t.true(requests.every(({ sampler, answer }) => sampler && answer?.constrained));
  await ask({ grammar: 'root ::= "a"' });
  t.deepEqual(seen[0]![1], { grammar: 'root ::= "a"' });
  await ask({ thinking_budget_tokens: 3, reasoning_budget_message: "stop" });
  t.like(seen[0]![1], { reasoningBudget: 3, reasoningBudgetMessage: "stop", answer: { thinks: true } });
  await ask({ tools, tool_choice: "none" });
  t.deepEqual(seen, []);
});

test("a grammar that does not compile is refused before anything is sent", async (t) => {
  const { client, engine } = await startMockApi(t, {
    onPrepare: () => {
      throw new Failure("invalid_grammar", "Grammar error: no root.", { param: "grammar" });
    },
  });
  const request = { ...hello, grammar: "x", stream: true } as OpenAI.ChatCompletionCreateParamsStreaming;
  const error = await t.throwsAsync(client.chat.completions.create(request));
  t.like(error, { status: 400, code: "invalid_grammar", param: "grammar" });
  t.is(engine.ended.finished, 0);
});

test("a schema that cannot be enforced is the client's error with its place", async (t) => {
  const { client } = await startMockApi(t);
  const schema = { type: "object", properties: { n: { type: "number", minimum: 1 } } };
  const error = await t.throwsAsync(
    client.chat.completions.create({
      ...hello,
      response_format: { type: "json_schema", json_schema: { name: "x", schema } },
    }),
  );
  t.like(error, { status: 400, code: "invalid_json_schema", param: "response_format.json_schema.schema" });
  t.like((error as unknown as { error: object }).error, { schema_path: "#/properties/n/minimum" });
});

test("log-probabilities: one entry for every token, as plain as streamed, without those of a cut stop string", async (t) => {
  const script = (): MockStep[] => ["Hi", " é", "😀", " stop", "!"].map((text) => ({ text }));
  const { client } = await startMockApi(t, { script });
  const request = { ...hello, logprobs: true, top_logprobs: 2, stop: " stop!" };
  const { choices } = await client.chat.completions.create(request);
  const { content, refusal } = choices[0]!.logprobs!;
  t.is(refusal, null);
  t.deepEqual(
    content!.map(({ token }) => token),
    ["Hi", " é", "😀"],
  );
  t.deepEqual(content![1]!.bytes, [...Buffer.from(" é")]);
  t.deepEqual(
    content![0]!.top_logprobs.map(({ token }) => token),
    ["Hi", "Hi1"],
  );
  const streamed: unknown[] = [];
  const stream = await client.chat.completions.create({ ...request, stream: true });
  for await (const { choices } of stream) streamed.push(...(choices[0]!.logprobs?.content ?? []));
  t.deepEqual(streamed, content as unknown[]);
  const none = await client.chat.completions.create({ ...hello, logprobs: true });
  t.deepEqual(none.choices[0]!.logprobs!.content![0]!.top_logprobs, []);
});

test("n_probs has llama-server's shape", async (t) => {
  const { post } = await startMockApi(t, { script: () => [{ text: "a" }] });
  const body = await jsonOf(await post("/v1/chat/completions", { ...hello, n_probs: 1 }));
  t.deepEqual(body.choices[0].logprobs, {
    content: [
      {
        id: 3,
        token: "a",
        bytes: [97],
        logprob: -0.125,
        top_logprobs: [{ id: 3, token: "a", bytes: [97], logprob: -0.125 }],
      },
    ],
  });
  const both = await post("/v1/chat/completions", { ...hello, n_probs: 1, logprobs: true });
  t.is(both.headers.get("x-ignored-parameters"), "n_probs");
});

test("timings and __verbose come on request, at the end", async (t) => {
  const { post } = await startMockApi(t, { script: () => [{ text: "a" }] });
  const whole = await jsonOf(await post("/v1/chat/completions", { ...hello, verbose: true, seed: 1 }));
  t.deepEqual(Object.keys(whole.timings), [
    "cache_n",
    "prompt_n",
    "prompt_ms",
    "prompt_per_token_ms",
    "prompt_per_second",
    "predicted_n",
    "predicted_ms",
    "predicted_per_token_ms",
    "predicted_per_second",
  ]);
  t.like(whole.timings, { cache_n: 0, prompt_n: 24, predicted_n: 2 });
  t.like(whole.__verbose, {
    prompt: "user: Hello\nassistant: ",
    generation_settings: { seed: 1, top_k: 40, typical_p: 1 },
  });
  const chunks = async (fields: object) =>
    (await (await post("/v1/chat/completions", { ...hello, stream: true, n: 2, verbose: true, ...fields })).text())
      .split("\n\n")
      .filter((frame) => frame.startsWith("data: {"))
      .map((frame) => JSON.parse(frame.slice(6)));
  for (const fields of [{}, { stream_options: { include_usage: true } }]) {
    const all = await chunks(fields);
    t.truthy(all.at(-1).timings);
    t.truthy(all.at(-1).__verbose);
    t.false(all.slice(0, -1).some((chunk) => "timings" in chunk || "__verbose" in chunk));
  }
  t.false("timings" in (await jsonOf(await post("/v1/chat/completions", hello))));
});

test("what the template does not look at is reported", async (t) => {
  const { post } = await startMockApi(t, { template: "{{ enable_thinking }}" });
  const ignored = async (fields: object) =>
    (await post("/v1/chat/completions", { ...hello, ...fields })).headers.get("x-ignored-parameters");
  t.is(await ignored({ reasoning_effort: "none" }), null);
  t.is(
    await ignored({ reasoning_effort: "low", thinking_budget_tokens: 4 }),
    "reasoning_effort, thinking_budget_tokens",
  );
  t.is(await ignored({ tools: [{ type: "web_search" }, ...tools] }), "tools[0]=web_search");
});

test("a later system message goes as the user's where the template refuses it", async (t) => {
  const refuse = ({ messages }: ChatPrompt) => {
    if (messages.slice(1).some(({ role }) => role === "system"))
      throw new Failure("chat_template_error", "no", { param: "messages" });
  };
  const { post } = await startMockApi(t, { onRender: refuse });
  const messages = [...hello.messages, { role: "system", content: "Be brief." }];
  t.deepEqual(await jsonOf(await post("/apply-template", { messages })), {
    prompt: "user: Hello\nuser: Be brief.\nassistant: ",
  });
});

test("input_tokens counts what the prompt comes to, also beyond the context", async (t) => {
  const { post } = await startMockApi(t, { contextTokens: 10 });
  const answer = await post("/v1/chat/completions/input_tokens", { ...hello, strange: 1 });
  t.is(answer.headers.get("x-ignored-parameters"), "strange");
  t.deepEqual(await jsonOf(answer), { object: "response.input_tokens", input_tokens: 24 });
  const refused = await post("/v1/chat/completions/input_tokens", { messages: [] });
  t.is(refused.status, 400);
  const templated = await post("/apply-template", { ...hello, tools });
  t.deepEqual(await jsonOf(templated), { prompt: "tools: get_weather\nuser: Hello\nassistant: " });
});

test("cache_prompt, ignore_eos and logprobs cross the seam", async (t) => {
  const requests: GenerationRequest[] = [];
  const { post } = await startMockApi(t, {
    script: (request) => {
      requests.push(request);
      return [{ text: "a" }];
    },
  });
  await post("/v1/chat/completions", {
    ...hello,
    cache_prompt: false,
    ignore_eos: true,
    logprobs: true,
    logit_bias: { "7": 1 },
  });
  t.like(requests[0], { cacheScope: null, logprobs: 0 });
  t.deepEqual(requests[0]!.sampling.logitBias, [
    [7, 1],
    [2, Number.NEGATIVE_INFINITY],
  ]);
  await post("/v1/chat/completions", hello);
  t.is(requests[1]!.cacheScope, "test");
  t.false("logprobs" in requests[1]!);
});
