// The messages of a chat request, and the chat fields whose time has not come.
import test from "ava";
import { parseChatRequest } from "../../src/openai/chat-request.ts";
import { atOnce, chat, refusal, testLimits } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const messagesOf = (...messages: unknown[]) => chat({ messages }).prompt.messages;
const refuse = (...messages: unknown[]) => refusal(() => chat({ messages }));

test("messages are required, between 1 and 4096, objects with a role and content", (t) => {
  const bare = (body: Record<string, unknown>) =>
    refusal(() => atOnce(parseChatRequest(body, { ...testLimits, config: testConfig() })));
  t.like(bare({}), {
    status: 400,
    code: "missing_required_parameter",
    param: "messages",
    message: "Missing required parameter: 'messages'.",
  });
  t.like(bare({ messages: null }), { code: "missing_required_parameter", param: "messages" });
  t.like(bare({ messages: "hi" }), { code: "invalid_type", param: "messages" });
  t.like(refuse(), {
    code: "array_below_min_length",
    param: "messages",
    message: "Invalid 'messages': expected at least 1 items, got 0.",
  });
  const user = { role: "user", content: "x" };
  t.is(refuse(...new Array(4096).fill(user)), undefined);
  t.like(refuse(...new Array(4097).fill(user)), { code: "array_above_max_length", param: "messages" });
  t.like(refuse(user, "x"), { code: "invalid_type", param: "messages[1]" });
  t.like(refuse(user, null), { code: "invalid_type", param: "messages[1]" });
  t.like(refuse({ content: "x" }), { code: "missing_required_parameter", param: "messages[0].role" });
  t.like(refuse({ role: 5, content: "x" }), { code: "invalid_type", param: "messages[0].role" });
  t.like(refuse(user, { role: "user" }), { code: "missing_required_parameter", param: "messages[1].content" });
  t.like(refuse({ role: "user", content: null }), { code: "missing_required_parameter", param: "messages[0].content" });
  t.like(refuse({ role: "user", content: 5 }), {
    code: "invalid_type",
    param: "messages[0].content",
    message: "Invalid type for 'messages[0].content': expected a string or an array, got an integer.",
  });
});

test("roles are system, developer, user, assistant and tool", (t) => {
  for (const role of ["function", "User", "", "__proto__", "constructor"]) {
    t.like(refuse({ role, content: "x" }), { status: 400, code: "invalid_value", param: "messages[0].role" });
  }
  t.true(refuse({ role: "x".repeat(10_000), content: "x" })!.message.length < 200);
  t.is(refuse({ role: "assistant", content: "x", tool_calls: [] }), undefined);
  t.is(
    refuse({ role: "assistant", content: "x", tool_calls: null, refusal: null, annotations: [], index: 0 }),
    undefined,
  );
});

test("text parts are joined by line breaks; an empty text is text", (t) => {
  const parts = [
    { type: "text", text: "one" },
    { type: "text", text: "two", cache_control: {} },
  ];
  t.deepEqual(messagesOf({ role: "user", content: parts }), [{ role: "user", content: "one\ntwo" }]);
  t.deepEqual(messagesOf({ role: "user", content: "" }), [{ role: "user", content: "" }]);
  const refused = { role: "assistant", content: [{ type: "refusal", refusal: "no" }, parts[0]] };
  t.deepEqual(messagesOf(refused), [{ role: "assistant", content: "no\none" }]);
});

test("parts that are no text are refused with their place", (t) => {
  const part = (part: unknown, role = "user") => refuse({ role, content: [{ type: "text", text: "a" }, part] });
  const place = "messages[0].content[1]";
  const image = { type: "image_url", image_url: { url: "https://x/y.png" } };
  t.deepEqual(part(image), {
    status: 400,
    code: "unsupported_value",
    param: place,
    message: `'${place}' is not supported by this server: image input is not supported.`,
  });
  t.like(part({ type: "input_audio", input_audio: {} }), { code: "unsupported_value", param: place });
  t.like(part({ type: "file", file: {} }), { code: "unsupported_value", param: place });
  t.like(part({ type: "thought" }), { code: "invalid_value", param: place });
  t.like(part({ type: "refusal", refusal: "no" }), { code: "invalid_value", param: place });
  t.like(part({ type: "text" }), { code: "missing_required_parameter", param: `${place}.text` });
  t.like(part({ type: "text", text: 5 }), { code: "invalid_type", param: `${place}.text` });
  t.like(part({}), { code: "missing_required_parameter", param: `${place}.type` });
  t.like(part("x"), { code: "invalid_type", param: place });
  const many = (count: number) => refuse({ role: "user", content: new Array(count).fill({ type: "text", text: "a" }) });
  t.is(many(1024), undefined);
  t.like(many(1025), { code: "array_above_max_length", param: "messages[0].content" });
});

test("an assistant may leave its content out when it refused or reasoned", (t) => {
  const assistant = (fields: object) => messagesOf({ role: "assistant", ...fields })[0];
  t.deepEqual(assistant({ content: null, refusal: "no" }), { role: "assistant", content: "no" });
  t.deepEqual(assistant({ reasoning_content: "hm" }), { role: "assistant", content: "", reasoning: "hm" });
  t.deepEqual(assistant({ content: "x", reasoning: "b", reasoning_content: "a" }), {
    role: "assistant",
    content: "x",
    reasoning: "a",
  });
  t.deepEqual(assistant({ content: "x", reasoning: "b" }), { role: "assistant", content: "x", reasoning: "b" });
  t.like(refuse({ role: "assistant", content: null }), { param: "messages[0].content" });
  t.like(refuse({ role: "user", content: null, reasoning: "x" }), { param: "messages[0].content" });
  t.deepEqual(messagesOf({ role: "user", content: "x", reasoning: "y" }), [{ role: "user", content: "x" }]);
  t.like(refuse({ role: "assistant", content: "x", reasoning: {} }), {
    code: "invalid_type",
    param: "messages[0].reasoning",
  });
});

test("leading system and developer messages become one; later ones stay where they are", (t) => {
  const user = { role: "user", content: "u" };
  const leading = [
    { role: "system", content: "a", name: "x" },
    { role: "developer", content: "b" },
    { role: "system", content: "c" },
  ];
  t.deepEqual(messagesOf(...leading, user, { role: "developer", content: "d" }), [
    { role: "system", content: "a\n\nb\n\nc" },
    { role: "user", content: "u" },
    { role: "system", content: "d" },
  ]);
  t.deepEqual(messagesOf(...leading), [{ role: "system", content: "a\n\nb\n\nc" }]);
  t.deepEqual(messagesOf(leading[0], user), [{ role: "system", content: "a", name: "x" }, user]);
});

test("names are 1 to 64 of A-Z, a-z, 0-9, _ and -", (t) => {
  t.deepEqual(messagesOf({ role: "user", content: "x", name: "a_B-9" }), [
    { role: "user", content: "x", name: "a_B-9" },
  ]);
  t.is(refuse({ role: "user", content: "x", name: "n".repeat(64) }), undefined);
  t.is(refuse({ role: "user", content: "x", name: null }), undefined);
  for (const name of ["", "n".repeat(65), "a b", "é", "a\n"]) {
    t.like(refuse({ role: "user", content: "x", name }), { code: "invalid_value", param: "messages[0].name" });
  }
  t.like(refuse({ role: "user", content: "x", name: 5 }), { code: "invalid_type", param: "messages[0].name" });
});

test("a form of the answer, log-probabilities and reasoning reach the request", (t) => {
  const { prompt, settings } = chat({
    response_format: { type: "json_object" },
    logprobs: true,
    top_logprobs: 3,
    reasoning_effort: "low",
    thinking_budget_tokens: 5,
    reasoning_budget_message: "enough",
    chat_template_kwargs: { enable_thinking: true, tone: "dry" },
  });
  t.deepEqual(prompt.jsonSchema, { type: "object" });
  t.deepEqual(prompt.templateKwargs, { tone: "dry", reasoning_effort: "low" });
  t.is(prompt.enableThinking, true);
  t.is(settings.logprobs, 3);
  t.deepEqual(settings.reasoning, { reasoningBudget: 5, reasoningBudgetMessage: "enough" });
});

test("log-probabilities: top_logprobs needs logprobs, and n_probs is theirs in another shape", (t) => {
  t.like(
    refusal(() => chat({ top_logprobs: 3 })),
    { code: "invalid_value", param: "top_logprobs" },
  );
  t.like(
    refusal(() => chat({ logprobs: true, top_logprobs: 21 })),
    { code: "integer_above_max_value", param: "top_logprobs" },
  );
  t.is(chat({ logprobs: true }).settings.logprobs, 0);
  t.is(chat({ logprobs: false }).settings.logprobs, undefined);
  t.like(chat({ n_probs: 2 }), { nativeLogprobs: true, settings: { logprobs: 2 } });
  t.like(chat({ n_probs: 2, logprobs: true }), {
    nativeLogprobs: false,
    settings: { logprobs: 0 },
    ignored: ["n_probs"],
  });
});

test("a grammar, a schema and a JSON format exclude each other, and tools a grammar", (t) => {
  const tools = [{ type: "function", function: { name: "f" } }];
  const json = { response_format: { type: "json_object" } };
  const refuse = (fields: object) => refusal(() => chat(fields as never));
  const grammar = 'root ::= "a"';
  t.like(refuse({ grammar, json_schema: {} }), { code: "invalid_value", param: "grammar" });
  t.like(refuse({ grammar, ...json }), { code: "invalid_value", param: "grammar" });
  t.like(refuse({ json_schema: { type: "object" }, ...json }), { code: "invalid_value", param: "json_schema" });
  t.like(refuse({ grammar, tools }), { code: "invalid_value", param: "grammar" });
  t.is(refuse({ grammar, tools, tool_choice: "none" }), undefined);
  t.is(refuse({ grammar, response_format: { type: "text" } }), undefined);
  t.like(chat({ tools, tool_choice: "none", ...json }).prompt, { toolChoice: "none", jsonSchema: { type: "object" } });
});

test("tools and a JSON form go on together, with the name of the field that asks for JSON", (t) => {
  const tools = [{ type: "function", function: { name: "f" } }];
  const prompt = (fields: object) => chat({ tools, ...fields } as never).prompt;
  const jsonSchema = { type: "object" };
  t.like(prompt({ response_format: { type: "json_object" } }), { jsonSchema, schemaParam: "response_format" });
  t.like(prompt({ json_schema: jsonSchema }), { jsonSchema, schemaParam: "json_schema", toolChoice: "auto" });
});

test("types come before the model, the model before what fields make of each other", (t) => {
  const refuse = (fields: object) => refusal(() => chat(fields as never, { MODEL_STRICT: "true" }));
  const broken = [{ role: "tool", tool_call_id: "a", content: "x" }];
  t.like(refuse({ model: "other", temperature: "hot", messages: broken }), { param: "temperature" });
  t.like(refuse({ model: "other", messages: broken }), { code: "model_not_found" });
  t.like(refuse({ model: "served", messages: broken }), { param: "messages[0].tool_call_id" });
});

test("a response_format says its type, and json_schema brings one", (t) => {
  const refuse = (response_format: object) => refusal(() => chat({ response_format } as never));
  t.like(refuse({}), { code: "missing_required_parameter", param: "response_format.type" });
  t.like(refuse({ type: 5 }), { code: "invalid_type", param: "response_format.type" });
  t.like(refuse({ type: "xml" }), { code: "invalid_value", param: "response_format.type" });
  // A schema in the wrong place would be no schema at all.
  t.like(refuse({ type: "json_schema", schema: { type: "object" } }), {
    code: "missing_required_parameter",
    param: "response_format.json_schema",
  });
  t.is(refuse({ type: "json_schema", json_schema: {} }), undefined);
});

test("fields of completions are reported as ignored on chat", (t) => {
  t.deepEqual(chat({ prompt: "x", echo: true, best_of: 2 }).ignored, ["prompt", "echo", "best_of"]);
});
