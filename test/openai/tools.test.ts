// Tools of a chat request, which of them may be called, and earlier calls in its messages.
import test from "ava";
import { chat, refusal } from "../helpers/parsing.ts";

const tool = (name: string, fields: object = {}) => ({ type: "function", function: { name, ...fields } });
const object = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const refuse = (fields: object) => refusal(() => chat(fields as never));
const choice = (tool_choice: unknown) => ({ tools: [tool("f"), tool("g")], tool_choice });

test("functions reach the prompt with their description and schema", (t) => {
  const { prompt, ignored } = chat({ tools: [tool("f", { description: "does", parameters: object }), tool("g")] });
  t.deepEqual(prompt.tools, [
    { name: "f", description: "does", parameters: object },
    { name: "g", parameters: { type: "object" } },
  ]);
  t.is(prompt.toolChoice, "auto");
  t.deepEqual(ignored, []);
});

test("other tools are skipped and reported; without functions the request is as without tools", (t) => {
  const { prompt, ignored } = chat({ tools: [{ type: "web_search" }, { type: "custom", custom: { name: "x" } }] });
  t.false("tools" in prompt);
  t.deepEqual(ignored, ["tools[0]=web_search", "tools[1]=custom"]);
  t.deepEqual(chat({ tools: [] }).prompt.tools, undefined);
  t.like(chat({ tools: [{ type: "web_search" }, tool("f")] }).prompt, { tools: [{ name: "f" }] });
});

test("a tool that is wrong is named", (t) => {
  const one = (only: unknown) => refuse({ tools: [tool("ok"), only] });
  t.like(one({ type: "function" }), { code: "missing_required_parameter", param: "tools[1].function" });
  t.like(one({ type: "function", function: {} }), { param: "tools[1].function.name" });
  t.like(one(tool("a b")), { code: "invalid_value", param: "tools[1].function.name" });
  t.like(one(tool("a".repeat(65))), { code: "invalid_value", param: "tools[1].function.name" });
  t.like(one(tool("ok")), { code: "invalid_value", param: "tools[1].function.name" });
  t.like(one(tool("f", { parameters: "x" })), { code: "invalid_type", param: "tools[1].function.parameters" });
  t.like(one(tool("f", { strict: 1 })), { code: "invalid_type", param: "tools[1].function.strict" });
  t.like(one("x"), { code: "invalid_type", param: "tools[1]" });
  t.like(one({}), { code: "missing_required_parameter", param: "tools[1].type" });
  const many = Array.from({ length: 257 }, (_, i) => tool(`f${i}`));
  t.like(refuse({ tools: many }), { code: "array_above_max_length", param: "tools" });
});

test("what a schema asks for and cannot have is dropped and reported, or refused when strict", (t) => {
  const parameters = {
    type: "object",
    properties: { a: { type: "string", pattern: "x" }, n: { type: "number", minimum: 1 } },
  };
  const { prompt, ignored } = chat({ tools: [tool("f", { parameters })] });
  t.deepEqual(ignored, ["tools[0].parameters=pattern", "tools[0].parameters=minimum"]);
  t.deepEqual(prompt.tools?.[0]?.parameters, {
    type: "object",
    properties: { a: { type: "string" }, n: { type: "number", minimum: 1 } },
  });
  t.like(refuse({ tools: [tool("f", { parameters, strict: true })] }), {
    status: 400,
    code: "invalid_function_parameters",
    param: "tools[0].function.parameters",
    message: "Unsupported at #/properties/a/pattern: it must begin with ^ and end with $.",
  });
});

test("a schema that is too large, or not of an object, leaves any object, and the model is still told", (t) => {
  const large = { type: "object", properties: { a: { type: "string", maxLength: 3000 } } };
  for (const parameters of [large, { type: "string" }]) {
    const { prompt, ignored } = chat({ tools: [tool("f", { description: "does", parameters })] });
    t.deepEqual(ignored, ["tools[0].parameters"]);
    t.deepEqual(prompt.tools?.[0], {
      name: "f",
      description: `does\nArguments (JSON Schema): ${JSON.stringify(parameters)}`,
      parameters: { type: "object" },
    });
  }
  t.like(refuse({ tools: [tool("f", { parameters: large, strict: true })] }), { code: "schema_too_complex" });
  t.like(refuse({ tools: [tool("f", { parameters: { type: "string" }, strict: true })] }), {
    code: "invalid_function_parameters",
  });
});

test("the schemas of all tools together are bounded", (t) => {
  const properties = Object.fromEntries(Array.from({ length: 1900 }, (_, i) => [`p${i}`, {}]));
  const tools = Array.from({ length: 5 }, (_, i) =>
    tool(`f${i}`, { parameters: { properties, required: Object.keys(properties) } }),
  );
  t.deepEqual(chat({ tools }).ignored, ["tools[3].parameters", "tools[4].parameters"]);
});

test("tool_choice: a word, one function, or some of them", (t) => {
  t.like(chat(choice("none")).prompt, { toolChoice: "none", tools: [{ name: "f" }, { name: "g" }] });
  t.like(chat(choice("required")).prompt, { toolChoice: "required" });
  const named = chat(choice({ type: "function", function: { name: "g" } })).prompt;
  t.is(named.toolChoice, "required");
  t.deepEqual(
    named.tools?.map(({ name }) => name),
    ["g"],
  );
  const allow = (mode: string, ...names: string[]) => ({
    type: "allowed_tools",
    allowed_tools: { mode, tools: names.map((name) => tool(name)) },
  });
  const allowed = chat(choice(allow("auto", "f"))).prompt;
  t.is(allowed.toolChoice, "auto");
  t.deepEqual(
    allowed.tools?.map(({ name }) => name),
    ["f"],
  );
  t.like(chat(choice(allow("required", "g", "f"))).prompt, {
    toolChoice: "required",
    tools: [{ name: "f" }, { name: "g" }],
  });
});

test("tool_choice that names what is not there is refused", (t) => {
  t.like(refuse({ tool_choice: "required" }), { code: "invalid_value", param: "tool_choice" });
  t.like(refuse({ tool_choice: { type: "function", function: { name: "f" } } }), { param: "tool_choice" });
  t.is(refuse({ tool_choice: "auto" }), undefined);
  t.is(refuse({ tool_choice: "none" }), undefined);
  const other = (value: unknown) => refuse(choice(value));
  t.like(other({ type: "function", function: { name: "h" } }), {
    code: "invalid_value",
    param: "tool_choice",
  });
  t.like(other({ type: "function" }), { code: "missing_required_parameter", param: "tool_choice.function" });
  t.like(other({ type: "allowed_tools" }), { param: "tool_choice.allowed_tools" });
  t.like(other({ type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } }), { param: "tool_choice" });
  t.like(other({ type: "allowed_tools", allowed_tools: { mode: "auto", tools: [tool("h")] } }), {
    code: "invalid_value",
    param: "tool_choice",
  });
  t.like(other("any"), { code: "invalid_value", param: "tool_choice" });
  t.like(other({ type: "custom" }), { code: "invalid_value", param: "tool_choice.type" });
  t.like(other({ type: 5 }), { code: "invalid_type", param: "tool_choice.type" });
  t.like(other({}), { code: "missing_required_parameter", param: "tool_choice.type" });
  t.like(other(5), { code: "invalid_type", param: "tool_choice" });
});

test("parallel calls are the template's own choice unless they are turned off", (t) => {
  const tools = [tool("f")];
  t.false("parallelToolCalls" in chat({ tools, parallel_tool_calls: true }).prompt);
  t.is(chat({ tools, parallel_tool_calls: false }).prompt.parallelToolCalls, false);
  t.false("parallelToolCalls" in chat({ parallel_tool_calls: false }).prompt);
});

// Earlier calls.

const user = { role: "user", content: "u" };
const call = (id: string, fields: object = {}) => ({
  id,
  type: "function",
  function: { name: "f", arguments: "{}" },
  ...fields,
});
const calls = (...tool_calls: unknown[]) => ({ role: "assistant", content: null, tool_calls });
const result = (tool_call_id: unknown) => ({ role: "tool", content: "r", tool_call_id });
const history = (...messages: unknown[]) => refuse({ messages });

test("calls and their answers reach the prompt", (t) => {
  const { messages } = chat({
    messages: [
      user,
      calls(call("a", { index: 0 }), call("b", { function: { name: "g", arguments: "" } })),
      result("b"),
      { role: "tool", name: "f", tool_call_id: "a", content: [{ type: "text", text: "r" }] },
      { role: "assistant", content: "done" },
    ],
  }).prompt;
  t.deepEqual(messages, [
    { role: "user", content: "u" },
    {
      role: "assistant",
      content: "",
      toolCalls: [
        { id: "a", name: "f", arguments: "{}" },
        { id: "b", name: "g", arguments: "{}" },
      ],
    },
    { role: "tool", content: "r", toolCallId: "b" },
    { role: "tool", content: "r", name: "f", toolCallId: "a" },
    { role: "assistant", content: "done" },
  ]);
});

test("a malformed call is named, with the word tool_calls", (t) => {
  const broken = (value: unknown, param: string, code = "invalid_value") => {
    const told = history(user, calls(value), result("a"));
    t.like(told, { status: 400, code, param: `messages[1].tool_calls[0]${param}` });
    t.true(told?.message.includes("tool_calls"));
  };
  broken(call(""), ".id");
  broken({ ...call("a"), id: undefined }, ".id", "missing_required_parameter");
  broken(call("a", { type: "custom" }), ".type");
  broken(call("a", { type: undefined }), ".type", "missing_required_parameter");
  broken(call("a", { function: { name: "a b", arguments: "{}" } }), ".function.name");
  broken(call("a", { function: { name: "f" } }), ".function.arguments", "missing_required_parameter");
  broken(call("a", { function: { name: "f", arguments: {} } }), ".function.arguments", "invalid_type");
  for (const text of ["[]", "{", "null", "5", '{"a":}', `${'{"a":'.repeat(70)}1${"}".repeat(70)}`]) {
    broken(call("a", { function: { name: "f", arguments: text } }), ".function.arguments");
  }
  broken("x", "", "invalid_type");
  t.like(history(user, calls(call("a"), call("a")), result("a")), { param: "messages[1].tool_calls[1].id" });
});

test("an id that is no string is named, with the word tool_calls", (t) => {
  for (const id of [5, true, ["a"], { id: "a" }]) {
    const told = history(user, calls(call("a")), result(id));
    t.like(told, { status: 400, code: "invalid_type", param: "messages[2].tool_call_id" });
    t.regex(told!.message, /expected a string.*tool_calls.*got an? /);
  }
  t.true(history(user, calls(call("a")), result(null))?.message.includes("tool_calls"));
});

test("every call is answered before the conversation goes on, and nothing else is", (t) => {
  const told = (messages: unknown[], param: string) => {
    const refused = history(...messages);
    t.like(refused, { status: 400, code: "invalid_value", param });
    t.true(refused?.message.includes("tool_calls"), refused?.message);
  };
  told([user, calls(call("a"))], "messages[1].tool_calls[0]");
  told([user, calls(call("a"), call("b")), result("a")], "messages[1].tool_calls[1]");
  told([user, calls(call("a")), user], "messages[1].tool_calls[0]");
  told([user, calls(call("a")), { role: "assistant", content: "x" }], "messages[1].tool_calls[0]");
  told([user, result("a")], "messages[1].tool_call_id");
  told([user, calls(call("a")), result("b")], "messages[2].tool_call_id");
  told([user, calls(call("a")), result("a"), result("a")], "messages[3].tool_call_id");
  told([user, calls(call("a")), { role: "tool", content: "r" }], "messages[2].tool_call_id");
  t.is(history(user, calls(call("a")), { role: "system", content: "s" }, result("a")), undefined);
  t.is(history(user, calls(call("a")), result("a"), calls(call("a")), result("a")), undefined);
  t.like(history(user, calls(call("a")), { ...result("a"), content: null }), { param: "messages[2].content" });
});

test("what the arguments of all calls hold is bounded, and text in them counts nothing", (t) => {
  const given = (id: string, text: string) => ({ id, type: "function", function: { name: "f", arguments: text } });
  const list = (count: number) => `{"a":[${"{},".repeat(count)}1]}`;
  const told = (...texts: string[]) =>
    history(
      user,
      calls(...texts.map((text, index) => given(`${index}`, text))),
      ...texts.map((_, i) => result(`${i}`)),
    );
  t.is(told(list(40_000)), undefined);
  t.is(told(JSON.stringify({ a: ',{"[\\'.repeat(100_000) })), undefined);
  const most = told(list(40_000), list(40_000));
  t.like(most, { code: "invalid_value", param: "messages[1].tool_calls[1].function.arguments" });
  t.regex(most!.message, /tool_calls/);
  const members = (count: number) =>
    JSON.stringify({ a: [Object.fromEntries(Array.from({ length: count }, (_, i) => [i, 1]))] });
  t.is(told(members(4096)), undefined);
  t.like(told(members(4097)), { code: "invalid_value", param: "messages[1].tool_calls[0].function.arguments" });
});
