// Tools, structured output, grammars, reasoning and log-probabilities on tiny-chat, through the official client.
import test from "ava";
import type OpenAI from "openai";
import { compileValidator } from "../helpers/schemas.ts";
import { jsonOf } from "../helpers/server.ts";
import { shareTinyApi } from "../helpers/tiny-api.ts";

type Create = OpenAI.ChatCompletionCreateParamsNonStreaming;
type Tool = OpenAI.ChatCompletionTool;

const api = shareTinyApi(test);

const quiet = { chat_template_kwargs: { enable_thinking: false } };
const ask = (content: string, fields: object = {}): Create => ({
  model: "tiny-chat",
  temperature: 0,
  messages: [{ role: "user", content }],
  ...quiet,
  ...fields,
});
const answer = async (request: Create) => (await api.client.chat.completions.create(request)).choices[0]!;

const functionTool = (name: string, parameter: string): Tool => ({
  type: "function",
  function: {
    name,
    description: `${name} of something`,
    parameters: { type: "object", properties: { [parameter]: { type: "string" } }, required: [parameter] },
  },
});
const weather = functionTool("get_weather", "city");
const calculator = functionTool("calculator", "expression");

test("a tools round trip: call, result, answer", async (t) => {
  const request = ask("What is the weather in Paris?", { tools: [weather] });
  const { message, finish_reason } = await answer(request);
  t.is(finish_reason, "tool_calls");
  t.is(message.content, null);
  t.like(message.tool_calls, [{ function: { name: "get_weather", arguments: '{"city": "Paris"}' } }]);
  const result = {
    role: "tool",
    tool_call_id: message.tool_calls![0]!.id,
    content: '{"condition": "sunny", "degrees": 18}',
  } as const;
  const done = await answer({ ...request, messages: [...request.messages, message, result] });
  t.is(done.finish_reason, "stop");
  t.regex(done.message.content!, /^The weather in Paris is .*sunny/);
});

test("thinking before a call, and the call it leads to", async (t) => {
  const { message } = await answer(
    ask("What is the weather in Berlin?", { tools: [weather], chat_template_kwargs: {} }),
  );
  t.regex((message as { reasoning_content?: string }).reasoning_content!, /weather in Berlin/);
  t.like(message.tool_calls, [{ function: { name: "get_weather", arguments: '{"city": "Berlin"}' } }]);
});

test("tool_choice: none keeps text, required and a named function call at once", async (t) => {
  const hello = (fields: object) => answer(ask("Hello", { tools: [weather, calculator], ...fields }));
  const none = await answer(ask("What is the weather in Paris?", { tools: [weather], tool_choice: "none" }));
  t.is(none.finish_reason, "stop");
  t.false("tool_calls" in none.message);
  const required = await hello({ tool_choice: "required" });
  t.is(required.finish_reason, "tool_calls");
  t.is(required.message.content, null);
  for (const name of ["get_weather", "calculator"]) {
    const named = await hello({ tool_choice: { type: "function", function: { name } } });
    t.is(named.finish_reason, "tool_calls");
    t.deepEqual(
      named.message.tool_calls!.map((call) => call.type === "function" && call.function.name),
      [name],
    );
  }
  const single = await answer(
    ask("What is the weather in Paris and London?", { tools: [weather], parallel_tool_calls: false }),
  );
  t.is(single.message.tool_calls?.length, 1);
});

test("arguments are valid by their schema at any temperature", async (t) => {
  const parameters = {
    type: "object",
    properties: {
      city: { type: "string", maxLength: 12 },
      days: { type: "integer", minimum: 1, maximum: 14 },
      unit: { enum: ["C", "F"] },
    },
    required: ["city", "days", "unit"],
  };
  const validate = compileValidator(parameters);
  const tools: Tool[] = [{ type: "function", function: { name: "forecast", strict: true, parameters } }];
  for (let seed = 0; seed < 10; seed++) {
    const { message, finish_reason } = await answer(
      ask("What is the weather in Paris?", { tools, tool_choice: "required", temperature: 1.5, seed, max_tokens: 400 }),
    );
    if (finish_reason === "length") continue;
    for (const call of message.tool_calls!) {
      t.true(call.type === "function" && validate(JSON.parse(call.function.arguments)), JSON.stringify(call));
    }
  }
});

test("a JSON object, and JSON by a schema", async (t) => {
  const cow = ask("Describe a cow as JSON.");
  const object = await answer({ ...cow, response_format: { type: "json_object" } });
  t.like(JSON.parse(object.message.content!), { name: "cow", kind: "farm animal" });
  const schema = {
    type: "object",
    properties: { name: { type: "string" }, legs: { type: "integer", minimum: 2, maximum: 8 } },
    required: ["name", "legs"],
    additionalProperties: false,
  };
  const parsed = await api.client.chat.completions.parse({
    ...cow,
    response_format: { type: "json_schema", json_schema: { name: "animal", schema, strict: true } },
  });
  t.true(compileValidator(schema)(parsed.choices[0]!.message.parsed));
  const thinking = await answer({ ...cow, ...{ chat_template_kwargs: {} }, response_format: { type: "json_object" } });
  t.notThrows(() => JSON.parse(thinking.message.content!));
});

test("a grammar shapes the answer; one that does not parse is refused", async (t) => {
  const { message } = await answer(ask("Hello", { grammar: 'root ::= "yes" | "no"' }));
  t.true(["yes", "no"].includes(message.content!));
  for (const grammar of ["root ::= nowhere", "other ::= [a-z]", "root ::= ["]) {
    const error = await t.throwsAsync(answer(ask("Hello", { grammar })));
    t.like(error, { status: 400, code: "invalid_grammar" });
  }
});

test("a reasoning budget ends thinking; reasoning_effort none leaves it out", async (t) => {
  const think = (fields: object) => answer(ask("What is 5 plus 2?", { chat_template_kwargs: {}, ...fields }));
  const reasoning = ({ message }: Awaited<ReturnType<typeof think>>) =>
    (message as { reasoning_content?: string }).reasoning_content;
  t.regex(reasoning(await think({}))!, /5 plus 2 is 7/);
  t.is(reasoning(await think({ reasoning_effort: "none" })), undefined);
  t.true((reasoning(await think({ thinking_budget_tokens: 2 })) ?? "").length < 8);
  t.is(reasoning(await think({ thinking_budget_tokens: 0 })), undefined);
  const tags = await think({ reasoning_format: "none" });
  t.is(reasoning(tags), undefined);
  t.true(tags.message.content!.includes("</think>"));
});

test("an answer goes on where the last message ended", async (t) => {
  const messages = [
    { role: "user", content: "What is the capital of France?" },
    { role: "assistant", content: "The capital of France" },
  ] as const;
  const continued = await answer({ ...ask(""), messages: [...messages], continue_final_message: true } as Create);
  t.is(continued.message.content, " is Paris.");
  const turn = await answer({ ...ask(""), messages: [...messages] });
  t.false(turn.message.content!.startsWith(" is Paris"));
});

test("log-probabilities tell the answer's bytes", async (t) => {
  for (const content of ["What is the capital of France?", "Show me a rocket emoji."]) {
    const { message, logprobs } = await answer(ask(content, { logprobs: true, top_logprobs: 3 }));
    const entries = logprobs!.content!;
    t.is(Buffer.from(entries.flatMap(({ bytes }) => bytes!)).toString(), message.content!);
    for (const { token, logprob, top_logprobs } of entries) {
      t.true(logprob <= 0);
      t.is(top_logprobs.length, 3);
      t.deepEqual(
        top_logprobs.map((entry) => entry.logprob),
        top_logprobs.map((entry) => entry.logprob).sort((a, b) => b - a),
      );
      t.is(top_logprobs[0]!.token, token, "greedy takes the most likely");
    }
  }
});

test("templates, counts and what the template ignores", async (t) => {
  const prompt = await jsonOf(await api.post("/apply-template", ask("Hello", { tools: [weather] })));
  t.regex(prompt.prompt, /get_weather[\s\S]*Hello[\s\S]*<think>\n\n<\/think>/);
  const count = await jsonOf(await api.post("/v1/chat/completions/input_tokens", ask("Hello")));
  const { usage } = await api.client.chat.completions.create(ask("Hello"));
  t.is(count.input_tokens, usage!.prompt_tokens);
  const effort = await api.post("/v1/chat/completions", ask("Hello", { reasoning_effort: "low" }));
  t.is(effort.headers.get("x-ignored-parameters"), "reasoning_effort");
});
