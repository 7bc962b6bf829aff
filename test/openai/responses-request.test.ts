// Bodies of /v1/responses: what they come to, and how each mistake is refused.
import test from "ava";
import { parseResponsesRequest, type ResponsesRequest } from "../../src/openai/responses-request.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { atOnce, refusal, testLimits } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const parse = (body: JsonObject, env: Record<string, string> = {}): ResponsesRequest =>
  atOnce(parseResponsesRequest(body, { ...testLimits, config: testConfig(env) }));

const withInput = (...input: unknown[]) => parse({ input }).prompt.messages;
const refused = (body: JsonObject) => refusal(() => parse(body));
const refusedInput = (...input: unknown[]) => refused({ input });

const call = (call_id: string, fields: object = {}) => ({
  type: "function_call",
  call_id,
  name: "f",
  arguments: "{}",
  ...fields,
});
const output = (call_id: string, text: unknown = "done") => ({ type: "function_call_output", call_id, output: text });
const user = { role: "user", content: "Hi" };

test("a string is one user message", (t) => {
  t.deepEqual(parse({ input: "Hi" }).prompt.messages, [{ role: "user", content: "Hi" }]);
});

test("instructions and the system and developer messages that follow become one", (t) => {
  const { messages } = parse({
    instructions: "A",
    input: [{ role: "system", content: "B" }, { role: "developer", content: "C" }, user],
  }).prompt;
  t.deepEqual(messages[0], { role: "system", content: "A\n\nB\n\nC" });
  t.is(messages.length, 2);
});

test("parts of text are joined by line breaks; an assistant may have refused", (t) => {
  t.deepEqual(
    withInput(
      {
        type: "message",
        role: "user",
        content: [
          { type: "input_text", text: "a" },
          { type: "input_text", text: "b" },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "output_text", text: "c", annotations: [] },
          { type: "refusal", refusal: "no" },
        ],
      },
      user,
    ),
    [
      { role: "user", content: "a\nb" },
      { role: "assistant", content: "c\nno" },
      { role: "user", content: "Hi" },
    ],
  );
});

test("reasoning, text and calls that follow each other are one turn; outputs come by their id", (t) => {
  t.deepEqual(
    withInput(
      user,
      { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "Hm" }] },
      { type: "message", role: "assistant", content: "Let me see" },
      { type: "reasoning", id: "rs_2", summary: [{ type: "summary_text", text: "gone" }], encrypted_content: null },
      call("1", { arguments: '{"a":1}' }),
      call("2", { arguments: "" }),
      output("2", [{ type: "input_text", text: "two" }]),
      output("1"),
      { role: "assistant", content: "There" },
    ),
    [
      { role: "user", content: "Hi" },
      {
        role: "assistant",
        content: "Let me see",
        reasoning: "Hm",
        toolCalls: [
          { id: "1", name: "f", arguments: '{"a":1}' },
          { id: "2", name: "f", arguments: "{}" },
        ],
      },
      { role: "tool", content: "two", toolCallId: "2" },
      { role: "tool", content: "done", toolCallId: "1" },
      { role: "assistant", content: "There" },
    ],
  );
});

test("an id may come again in a later turn", (t) => {
  t.is(withInput(user, call("1"), output("1"), call("1"), output("1")).length, 5);
});

test("broken histories are refused with their path, and say tool_calls", (t) => {
  const cases: [input: unknown[], param: string][] = [
    [[user, call("1")], "input[1].call_id"],
    [[user, call("1"), user, output("1")], "input[1].call_id"],
    [[user, call("1"), call("2"), output("1")], "input[2].call_id"],
    [[user, call("1"), output("2")], "input[2].call_id"],
    [[user, call("1"), output("1"), output("1")], "input[3].call_id"],
    [[user, output("1")], "input[1].call_id"],
    [[user, call("1"), call("1"), output("1")], "input[2].call_id"],
    [[user, call("")], "input[1].call_id"],
    [[user, call("1"), call("2"), output("1"), call("3"), output("2")], "input[2].call_id"],
    [[user, call("1", { name: "a b" })], "input[1].name"],
    [[user, call("1", { arguments: "[]" })], "input[1].arguments"],
    [[user, call("1", { arguments: "{" })], "input[1].arguments"],
    [[user, call("1", { arguments: `{"a":[${"1,".repeat(100_000)}1]}` })], "input[1].arguments"],
  ];
  for (const [input, param] of cases) {
    const told = refusedInput(...input);
    t.like(told, { status: 400, code: "invalid_value", param }, JSON.stringify(input));
    t.regex(told!.message, /tool_calls/);
  }
});

test("members that are missing or of the wrong type are named", (t) => {
  const cases: [input: unknown, code: string, param: string][] = [
    [undefined, "missing_required_parameter", "input"],
    [5, "invalid_type", "input"],
    [[], "array_below_min_length", "input"],
    [["x"], "invalid_type", "input[0]"],
    [[{ content: "x" }], "missing_required_parameter", "input[0].role"],
    [[{ role: "user" }], "missing_required_parameter", "input[0].content"],
    [[{ role: "tool", content: "x" }], "invalid_value", "input[0].role"],
    [[{ role: "user", content: [{ type: "input_text" }] }], "missing_required_parameter", "input[0].content[0].text"],
    [
      [{ role: "assistant", content: [{ type: "refusal" }] }],
      "missing_required_parameter",
      "input[0].content[0].refusal",
    ],
    [[{ role: "user", content: [{ type: "refusal", refusal: "x" }] }], "invalid_value", "input[0].content[0]"],
    [[{ role: "user", content: [{ type: "input_image" }] }], "unsupported_value", "input[0].content[0]"],
    [[{ role: "user", content: [{ type: "input_file" }] }], "unsupported_value", "input[0].content[0]"],
    [[{ type: "item_reference", id: "x" }], "unsupported_value", "input[0]"],
    [[{ type: "compaction" }], "unsupported_value", "input[0]"],
    [[{ type: "function_call", name: "f", arguments: "{}" }], "missing_required_parameter", "input[0].call_id"],
    [[{ type: "function_call", call_id: "1", arguments: "{}" }], "missing_required_parameter", "input[0].name"],
    [[{ type: "function_call", call_id: "1", name: "f" }], "missing_required_parameter", "input[0].arguments"],
    [[{ type: "function_call", call_id: "1", name: "f", arguments: {} }], "invalid_type", "input[0].arguments"],
    [[call("1"), { type: "function_call_output", call_id: "1" }], "missing_required_parameter", "input[1].output"],
    [[call("1"), output("1", [{ type: "input_image" }])], "unsupported_value", "input[1].output[0]"],
  ];
  for (const [input, code, param] of cases) {
    t.like(refused({ input }), { status: 400, code, param }, JSON.stringify(input));
  }
});

test("ranges and enumerations", (t) => {
  const cases: [fields: JsonObject, code: string, param: string][] = [
    [{ max_output_tokens: 0 }, "integer_below_min_value", "max_output_tokens"],
    [{ max_output_tokens: -2 }, "integer_below_min_value", "max_output_tokens"],
    [{ max_output_tokens: 2 ** 31 }, "integer_above_max_value", "max_output_tokens"],
    [{ top_logprobs: 21 }, "integer_above_max_value", "top_logprobs"],
    [{ n: 2 }, "integer_above_max_value", "n"],
    [{ temperature: 3 }, "decimal_above_max_value", "temperature"],
    [{ reasoning: { effort: "huge" } }, "invalid_value", "reasoning.effort"],
    [{ text: { format: { type: "xml" } } }, "invalid_value", "text.format.type"],
    [{ text: { format: { type: "json_schema", schema: 5 } } }, "invalid_type", "text.format.schema"],
    [
      { text: { format: { type: "json_schema", schema: { type: "object", not: {} } } } },
      "invalid_json_schema",
      "text.format.schema",
    ],
    [{ stream_options: {} }, "invalid_value", "stream_options"],
    [{ metadata: { a: 1 } }, "invalid_type", "metadata.a"],
  ];
  for (const [fields, code, param] of cases) {
    t.like(refused({ input: "x", ...fields }), { status: 400, code, param }, JSON.stringify(fields));
  }
});

test("the route's own limit wins; without one the answer has all the room", (t) => {
  t.is(parse({ input: "x" }).settings.maxTokens, -1);
  t.is(parse({ input: "x", max_output_tokens: 7, n_predict: 9 }).settings.maxTokens, 7);
  t.is(parse({ input: "x", n_predict: 9 }).settings.maxTokens, 9);
  t.is(parse({ input: "x" }, { DEFAULT_MAX_TOKENS: "5" }).settings.maxTokens, 5);
});

const f = { type: "function", name: "f", parameters: { type: "object", properties: { a: { type: "string" } } } };
const g = { type: "function", name: "g" };

test("tools and the choice between them", (t) => {
  const tools = (tool_choice?: unknown) => {
    const { tools, toolChoice } = parse({ input: "x", tools: [f, g], tool_choice }).prompt;
    return [toolChoice, ...(tools ?? []).map(({ name }) => name)];
  };
  t.deepEqual(tools(), ["auto", "f", "g"]);
  t.deepEqual(tools("none"), ["none", "f", "g"]);
  t.deepEqual(tools("required"), ["required", "f", "g"]);
  t.deepEqual(tools({ type: "function", name: "g" }), ["required", "g"]);
  t.deepEqual(tools({ type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "g" }] }), ["auto", "g"]);
  t.deepEqual(
    tools({
      type: "allowed_tools",
      mode: "required",
      tools: [
        { type: "function", name: "g" },
        { type: "function", name: "f" },
      ],
    }),
    ["required", "f", "g"],
  );
  t.is(parse({ input: "x", tools: [f], parallel_tool_calls: false }).prompt.parallelToolCalls, false);
});

test("tools of other types are skipped and told; with none left there are no tools", (t) => {
  const { prompt, ignored } = parse({ input: "x", tools: [{ type: "web_search" }, { type: "namespace", name: "n" }] });
  t.is(prompt.tools, undefined);
  t.deepEqual(ignored, ["tools[0]=web_search", "tools[1]=namespace"]);
});

test("what a tool's schema asks for and cannot have is told, or refused when it is strict", (t) => {
  const parameters = { type: "object", properties: { a: { type: "string", not: {} } } };
  const { ignored, prompt } = parse({ input: "x", tools: [{ ...f, parameters }] });
  t.deepEqual(ignored, ["tools[0].parameters=not"]);
  t.is(prompt.tools!.length, 1);
  t.like(refused({ input: "x", tools: [{ ...f, parameters, strict: true }] }), {
    code: "invalid_function_parameters",
    param: "tools[0].parameters",
  });
});

test("tools and choices that are wrong are refused by name", (t) => {
  const cases: [fields: JsonObject, param: string][] = [
    [{ tools: [{ type: "function" }] }, "tools[0].name"],
    [{ tools: [{ ...f, name: "a b" }] }, "tools[0].name"],
    [{ tools: [f, f] }, "tools[1].name"],
    [{ tools: [{ ...f, parameters: [] }] }, "tools[0].parameters"],
    [{ tool_choice: "required" }, "tool_choice"],
    [{ tools: [f], tool_choice: "sometimes" }, "tool_choice"],
    [{ tools: [f], tool_choice: { type: "function", name: "h" } }, "tool_choice"],
    [{ tools: [f], tool_choice: { type: "function" } }, "tool_choice.name"],
    [{ tools: [f], tool_choice: { type: "file_search" } }, "tool_choice.type"],
    [{ tools: [f], tool_choice: { type: "allowed_tools", mode: "auto", tools: [] } }, "tool_choice"],
    [{ tools: [f], tool_choice: { type: "allowed_tools", tools: [f] } }, "tool_choice.mode"],
    [{ tools: [f], tool_choice: { type: "allowed_tools", mode: "auto", tools: [g] } }, "tool_choice"],
  ];
  for (const [fields, param] of cases) {
    t.like(refused({ input: "x", ...fields }), { status: 400, param }, JSON.stringify(fields));
  }
});

test("formats and reasoning reach the prompt", (t) => {
  t.deepEqual(parse({ input: "x", text: { format: { type: "json_object" } } }).prompt.jsonSchema, { type: "object" });
  const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
  const format = { type: "json_schema", name: "n", schema, strict: true };
  t.like(parse({ input: "x", text: { format } }).prompt.jsonSchema, { type: "object", required: ["a"] });
  t.is(parse({ input: "x", reasoning: { effort: "none" } }).prompt.enableThinking, false);
  t.deepEqual(parse({ input: "x", reasoning: { effort: "high" } }).prompt.templateKwargs, { reasoning_effort: "high" });
});

test("forms exclude each other, and tools a grammar", (t) => {
  const format = { type: "json_object" };
  const cases: [fields: JsonObject, param: string][] = [
    [{ text: { format }, json_schema: {} }, "json_schema"],
    [{ text: { format }, grammar: 'root ::= "a"' }, "grammar"],
    [{ tools: [f], grammar: 'root ::= "a"' }, "grammar"],
  ];
  for (const [fields, param] of cases) {
    t.like(refused({ input: "x", ...fields }), { code: "invalid_value", param }, JSON.stringify(fields));
  }
  t.deepEqual(parse({ input: "x", tools: [f], tool_choice: "none", text: { format } }).prompt.jsonSchema, {
    type: "object",
  });
  t.deepEqual(parse({ input: "x", json_schema: {} }).prompt.jsonSchema, { type: "object" });
  const jsonSchema = { type: "object" };
  t.like(parse({ input: "x", tools: [f], text: { format } }).prompt, { jsonSchema, schemaParam: "text.format" });
  t.like(parse({ input: "x", tools: [f], json_schema: {} }).prompt, { jsonSchema, schemaParam: "json_schema" });
});

test("log-probabilities are asked for by include", (t) => {
  const include = ["message.output_text.logprobs"];
  t.is(parse({ input: "x", include, top_logprobs: 3 }).settings.logprobs, 3);
  t.is(parse({ input: "x", include }).settings.logprobs, 0);
  const without = parse({ input: "x", top_logprobs: 3, n_probs: 2 });
  t.is(without.settings.logprobs, undefined);
  t.deepEqual(without.ignored, ["top_logprobs", "n_probs"]);
});

test("fields of thinking and the template work here too; reasoning.effort wins and is named as it was sent", (t) => {
  const request = parse({
    input: "x",
    reasoning: { effort: "high" },
    reasoning_effort: "low",
    thinking_budget_tokens: 5,
    chat_template_kwargs: { a: 1 },
  });
  t.deepEqual(request.prompt.templateKwargs, { a: 1, reasoning_effort: "high" });
  t.is(request.settings.reasoning?.reasoningBudget, 5);
  t.deepEqual(
    request.needs.map(({ field }) => field),
    ["reasoning.effort", "thinking_budget_tokens"],
  );
  const last = { role: "assistant", content: "Once" };
  t.is(parse({ input: [user, last], continue_final_message: true }).prompt.continueFinalMessage, true);
});

test("the request is told again", (t) => {
  const tools = [f, { type: "web_search" }];
  t.deepEqual(
    parse({
      input: "x",
      instructions: "I",
      max_output_tokens: 5,
      metadata: { a: "b" },
      reasoning: { effort: "low", summary: "auto" },
      temperature: 0.5,
      top_p: 0.9,
      text: { verbosity: "low" },
      tools,
      tool_choice: { type: "function", name: "f" },
      parallel_tool_calls: false,
    }).echo,
    {
      instructions: "I",
      max_output_tokens: 5,
      metadata: { a: "b" },
      parallel_tool_calls: false,
      reasoning: { effort: "low", summary: null },
      temperature: 0.5,
      text: { verbosity: "low", format: { type: "text" } },
      tool_choice: { type: "function", name: "f" },
      tools,
      top_p: 0.9,
    },
  );
});
