// The body of a Messages request: what each field comes to, what is reported, what is refused and where.
import test from "ava";
import { parseCountRequest, parseMessagesRequest } from "../../src/anthropic/messages-request.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { atOnce, refusal, testLimits } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const hello = { max_tokens: 100, messages: [{ role: "user", content: "Hello" }] };
const limits = (env: Record<string, string> = {}) => ({ ...testLimits, config: testConfig(env) });

const parse = (fields: JsonObject) => atOnce(parseMessagesRequest({ ...hello, ...fields }, limits()));
const count = (fields: JsonObject) => atOnce(parseCountRequest({ messages: hello.messages, ...fields }, limits()));

const tool = {
  name: "f",
  description: "does f",
  input_schema: { type: "object", properties: { a: { type: "string" } } },
};

test("a plain request", (t) => {
  const { prompt, settings, ignored, needs } = parse({ temperature: 0, top_k: 3, stop_sequences: ["x"], stream: true });
  t.deepEqual(prompt, { messages: [{ role: "user", content: "Hello" }] });
  t.like(settings, { maxTokens: 100, stop: ["x"], n: 1, stream: true, includeUsage: false });
  t.like(settings.sampling, { temperature: 0, topK: 3 });
  t.deepEqual(ignored, []);
  t.deepEqual(needs, []);
  t.is(parse({ max_tokens: 0 }).settings.maxTokens, 0);
  t.is(parse({ max_tokens: null, n_predict: 7 }).settings.maxTokens, 7);
});

test("the system prompt, with the part of the billing header fixed that changes with every request", (t) => {
  const system = (system: unknown) => parse({ system }).prompt.messages[0]!.content;
  t.is(system("be kind"), "be kind");
  const blocks = (text: string) => [
    { type: "text", text },
    { type: "text", text: "cch=2;", cache_control: { type: "ephemeral" } },
  ];
  const header = "x-anthropic-billing-header: cc_version=1.2; cc_entrypoint=cli; cch=";
  t.is(system(blocks(`${header}a1b2c;`)), `${header}0;\ncch=2;`);
  t.is(system(blocks(`${header}ffff`)), system(blocks(`${header}0`)));
  t.is(system(blocks("x; cch=1")), "x; cch=1\ncch=2;");
  t.is(parse({ system: "" }).prompt.messages.length, 1);
});

test("tools and tool_choice", (t) => {
  const other = { ...tool, type: "custom", name: "g", cache_control: { type: "ephemeral" } };
  const search = { type: "web_search_20250305", name: "web_search" };
  const request = (tool_choice?: object) => parse({ tools: [tool, search, other], tool_choice });
  const { prompt, ignored } = request();
  t.deepEqual(
    prompt.tools?.map(({ name }) => name),
    ["f", "g"],
  );
  t.like(prompt.tools?.[0], { description: "does f", parameters: { type: "object" } });
  t.is(prompt.toolChoice, "auto");
  t.is(prompt.parallelToolCalls, undefined);
  t.deepEqual(ignored, ["tools[1]=web_search_20250305"]);
  t.is(request({ type: "any" }).prompt.toolChoice, "required");
  t.is(request({ type: "none" }).prompt.toolChoice, "none");
  const forced = request({ type: "tool", name: "g", disable_parallel_tool_use: true }).prompt;
  t.deepEqual(
    forced.tools?.map(({ name }) => name),
    ["g"],
  );
  t.like(forced, { toolChoice: "required", parallelToolCalls: false });
  t.is(parse({ tools: [search], tool_choice: { type: "auto" } }).prompt.tools, undefined);
});

test("what of a tool's schema is not enforced is reported; strict ones are refused", (t) => {
  const input_schema = { type: "object", properties: { a: { type: "number", multipleOf: 3 } } };
  t.deepEqual(parse({ tools: [{ ...tool, input_schema }] }).ignored, ["tools[0].input_schema=multipleOf"]);
  const odd = parse({ tools: [{ ...tool, input_schema: { type: "string" } }] });
  t.deepEqual(odd.ignored, ["tools[0].input_schema"]);
  t.regex(odd.prompt.tools![0]!.description!, /does f\n.*"type":"string"/);
  t.like(
    refusal(() => parse({ tools: [{ ...tool, input_schema, strict: true }] })),
    { code: "invalid_function_parameters", param: "tools[0].input_schema" },
  );
});

test("thinking, effort and template fields", (t) => {
  const prompt = (fields: JsonObject) => parse(fields).prompt;
  t.is(prompt({}).enableThinking, undefined);
  t.is(prompt({ thinking: { type: "disabled" } }).enableThinking, false);
  t.is(prompt({ thinking: { type: "adaptive", display: "omitted" } }).enableThinking, true);
  const enabled = parse({ thinking: { type: "enabled", budget_tokens: 99 }, thinking_budget_tokens: 5 });
  t.true(enabled.prompt.enableThinking);
  t.is(enabled.settings.reasoning?.reasoningBudget, 99);
  t.deepEqual(enabled.needs, [{ field: "thinking.budget_tokens", variable: "tags" }]);
  const effort = parse({ output_config: { effort: "high" }, reasoning_budget_tokens: 5 });
  t.deepEqual(effort.prompt.templateKwargs, { reasoning_effort: "high" });
  t.deepEqual(effort.needs, [
    { field: "output_config.effort", variable: "reasoning_effort" },
    { field: "reasoning_budget_tokens", variable: "tags" },
  ]);
  t.is(prompt({ output_config: { effort: "none" } }).enableThinking, false);
  t.deepEqual(prompt({ chat_template_kwargs: { a: 1 } }).templateKwargs, { a: 1 });
});

test("the form of the answer", (t) => {
  const schema = { type: "object", properties: { a: { type: "string" } } };
  const format = { type: "json_schema", schema };
  t.like(parse({ output_config: { format } }).prompt.jsonSchema, { type: "object" });
  t.like(parse({ json_schema: schema }).prompt.jsonSchema, { type: "object" });
  t.is(parse({ grammar: 'root ::= "a"' }).settings.grammar, 'root ::= "a"');
  t.true("jsonSchema" in parse({ output_config: { format }, tools: [tool], tool_choice: { type: "none" } }).prompt);
  const schemaParam = "output_config.format";
  t.like(parse({ output_config: { format }, tools: [tool] }).prompt, { jsonSchema: { type: "object" }, schemaParam });
  t.like(parse({ json_schema: schema, tools: [tool] }).prompt, { schemaParam: "json_schema" });
});

test("the final assistant message is continued", (t) => {
  const messages = [...hello.messages, { role: "assistant", content: "The answer is (" }];
  t.true(parse({ messages }).prompt.continueFinalMessage);
});

test("fields without effect are accepted; those that ask for something are reported", (t) => {
  const { ignored } = parse({
    metadata: { user_id: null },
    cache_control: { type: "ephemeral" },
    service_tier: "auto",
    context_management: { edits: [] },
    container: null,
    stop: ["a"],
    n_probs: 2,
    verbose: true,
    timings_per_token: true,
    betas: [],
  });
  t.deepEqual(ignored, ["context_management", "stop", "n_probs", "verbose", "timings_per_token", "betas"]);
});

test("counting needs no token limit, and judges a thinking budget by itself", (t) => {
  t.is(count({}).prompt.messages.length, 1);
  t.true(count({ thinking: { type: "enabled", budget_tokens: 5000 } }).prompt.enableThinking);
  t.is(count({ max_tokens: 5, tools: [tool] }).prompt.tools?.length, 1);
});

const refused: [what: string, fields: JsonObject, code: string, param: string][] = [
  ["no max_tokens", { max_tokens: null }, "missing_required_parameter", "max_tokens"],
  ["max_tokens -1", { max_tokens: -1 }, "integer_below_min_value", "max_tokens"],
  ["n_predict -1", { n_predict: -1 }, "integer_below_min_value", "n_predict"],
  ["max_tokens 1.5", { max_tokens: 1.5 }, "invalid_type", "max_tokens"],
  ["no messages", { messages: null }, "missing_required_parameter", "messages"],
  ["empty messages", { messages: [] }, "array_below_min_length", "messages"],
  ["another role", { messages: [{ role: "tool", content: "a" }] }, "invalid_value", "messages[0].role"],
  ["no content", { messages: [{ role: "user" }] }, "missing_required_parameter", "messages[0].content"],
  ["a content of another type", { messages: [{ role: "user", content: 5 }] }, "invalid_type", "messages[0].content"],
  [
    "a block's text of another type",
    { messages: [{ role: "user", content: [{ type: "text", text: 5 }] }] },
    "invalid_type",
    "messages[0].content[0].text",
  ],
  ["an image in system", { system: [{ type: "image" }] }, "unsupported_value", "system[0]"],
  ["a hot temperature", { temperature: 3 }, "decimal_above_max_value", "temperature"],
  ["two answers", { n: 2 }, "integer_above_max_value", "n"],
  ["an empty stop sequence", { stop_sequences: [""] }, "string_below_min_length", "stop_sequences[0]"],
  ["a tool without a name", { tools: [{ input_schema: {} }] }, "missing_required_parameter", "tools[0].name"],
  ["a tool without a schema", { tools: [{ name: "f" }] }, "missing_required_parameter", "tools[0].input_schema"],
  ["a tool with a strange name", { tools: [{ ...tool, name: "a b" }] }, "invalid_value", "tools[0].name"],
  ["two tools of one name", { tools: [tool, tool] }, "invalid_value", "tools[1].name"],
  ["any without tools", { tool_choice: { type: "any" } }, "invalid_value", "tool_choice"],
  [
    "a forced tool that is not there",
    { tools: [tool], tool_choice: { type: "tool", name: "g" } },
    "invalid_value",
    "tool_choice.name",
  ],
  [
    "a forced tool without a name",
    { tools: [tool], tool_choice: { type: "tool" } },
    "missing_required_parameter",
    "tool_choice.name",
  ],
  [
    "a forced call behind a text that is to be continued",
    {
      tools: [tool],
      tool_choice: { type: "any" },
      messages: [...hello.messages, { role: "assistant", content: "I" }],
    },
    "invalid_value",
    "tool_choice",
  ],
  ["another choice", { tools: [tool], tool_choice: { type: "some" } }, "invalid_value", "tool_choice.type"],
  ["thinking of another type", { thinking: { type: "hard" } }, "invalid_value", "thinking.type"],
  [
    "thinking without a budget",
    { thinking: { type: "enabled" } },
    "missing_required_parameter",
    "thinking.budget_tokens",
  ],
  [
    "a budget that leaves nothing",
    { thinking: { type: "enabled", budget_tokens: 100 } },
    "invalid_value",
    "thinking.budget_tokens",
  ],
  [
    "no budget at all",
    { thinking: { type: "enabled", budget_tokens: 0 } },
    "integer_below_min_value",
    "thinking.budget_tokens",
  ],
  ["another effort", { output_config: { effort: "huge" } }, "invalid_value", "output_config.effort"],
  ["another format", { output_config: { format: { type: "xml" } } }, "invalid_value", "output_config.format.type"],
  [
    "a schema that cannot be enforced",
    { output_config: { format: { type: "json_schema", schema: { type: "number", multipleOf: 2 } } } },
    "invalid_json_schema",
    "output_config.format.schema",
  ],
  ["a grammar beside tools", { tools: [tool], grammar: "root ::= [a-z]" }, "invalid_value", "grammar"],
  ["a negative limit by another name", { n_predict: -1 }, "integer_below_min_value", "n_predict"],
  ["what cannot be served here", { store: true }, "unsupported_parameter", "store"],
  [
    "too much metadata",
    { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, ""])) },
    "object_above_max_properties",
    "metadata",
  ],
  ["a long name in metadata", { metadata: { ["k".repeat(65)]: "" } }, "string_above_max_length", "metadata"],
  ["a long user id", { metadata: { user_id: "u".repeat(513) } }, "string_above_max_length", "metadata.user_id"],
  ["a user id of another type", { metadata: { user_id: 5 } }, "invalid_type", "metadata.user_id"],
];

for (const [what, fields, code, param] of refused) {
  test(`${what} is refused by name`, (t) => {
    t.like(
      refusal(() => parse(fields)),
      { status: 400, code, param },
    );
  });
}

test("the smallest limit is 0, also where tokens are only counted", (t) => {
  const refuse = (max_tokens: number) => refusal(() => count({ max_tokens }));
  t.like(refuse(-5), { message: "Invalid 'max_tokens': expected a value >= 0, got -5.", param: "max_tokens" });
  t.is(refuse(0), undefined);
});

test("another model is refused only with MODEL_STRICT", (t) => {
  t.is(
    refusal(() => parse({ model: "claude" })),
    undefined,
  );
  const strict = () => atOnce(parseMessagesRequest({ ...hello, model: "claude" }, limits({ MODEL_STRICT: "true" })));
  t.like(refusal(strict), { status: 404, code: "model_not_found", param: "model" });
});
