// Turns of user and assistant as the messages a chat template takes: merging, tool results, what is refused and where.
import test from "ava";
import { toConversation } from "../../src/anthropic/conversation.ts";
import { refusal } from "../helpers/parsing.ts";

// biome-ignore lint/suspicious/noExplicitAny: as a body brings it
const convert = (messages: any[], system = "") => toConversation(messages, system);

const use = (id: string, name = "f", input: object = {}) => ({ type: "tool_use", id, name, input });
const result = (tool_use_id: string, content?: unknown) => ({ type: "tool_result", tool_use_id, content });
const text = (text: string) => ({ type: "text", text });

test("strings and text blocks; neighbours of one role are one turn", (t) => {
  const { messages, continues } = convert(
    [
      { role: "user", content: "a" },
      { role: "user", content: [text("b"), text("c")] },
      { role: "assistant", content: "d" },
      { role: "assistant", content: [text("e")] },
      { role: "user", content: "" },
    ],
    "be kind",
  );
  t.deepEqual(messages, [
    { role: "system", content: "be kind" },
    { role: "user", content: "a\nb\nc" },
    { role: "assistant", content: "d\ne" },
    { role: "user", content: "" },
  ]);
  t.false(continues);
});

test("leading system messages join the system prompt, later ones stay where they are", (t) => {
  const { messages } = convert(
    [
      { role: "system", content: "x" },
      { role: "user", content: "a" },
      { role: "system", content: [text("y"), text("z")] },
    ],
    "s",
  );
  t.deepEqual(messages, [
    { role: "system", content: "s\n\nx" },
    { role: "user", content: "a" },
    { role: "system", content: "y\nz" },
  ]);
});

test("tool results go directly behind their calls, in the calls' order, and all else behind them", (t) => {
  const { messages } = convert([
    { role: "user", content: "go" },
    { role: "assistant", content: [text("calling"), use("1", "f", { b: 1, a: "é" }), use("2", "g")] },
    { role: "system", content: "meanwhile" },
    { role: "user", content: [text("and"), result("2", [text("two"), text("2")]), result("1", "one"), text("so")] },
    { role: "assistant", content: "done" },
    { role: "user", content: "ok" },
  ]);
  t.deepEqual(messages, [
    { role: "user", content: "go" },
    {
      role: "assistant",
      content: "calling",
      toolCalls: [
        { id: "1", name: "f", arguments: '{"b":1,"a":"é"}' },
        { id: "2", name: "g", arguments: "{}" },
      ],
    },
    { role: "tool", toolCallId: "1", content: "one" },
    { role: "tool", toolCallId: "2", content: "two\n2" },
    { role: "system", content: "meanwhile" },
    { role: "user", content: "and\nso" },
    { role: "assistant", content: "done" },
    { role: "user", content: "ok" },
  ]);
});

test("results alone make no user message; a result may be empty, an error, or come in the next of two turns", (t) => {
  const { messages } = convert([
    { role: "assistant", content: [use("1"), use("2")] },
    { role: "user", content: [result("1")] },
    { role: "user", content: [{ ...result("2", "no"), is_error: true }] },
  ]);
  t.deepEqual(messages.slice(1), [
    { role: "tool", toolCallId: "1", content: "" },
    { role: "tool", toolCallId: "2", content: "no" },
  ]);
});

test("thinking comes back as reasoning, redacted thinking is dropped", (t) => {
  const { messages } = convert([
    {
      role: "assistant",
      content: [
        { type: "thinking", thinking: "hm", signature: "x" },
        { type: "redacted_thinking", data: "zz" },
        text("a"),
      ],
    },
    { role: "user", content: "b" },
  ]);
  t.deepEqual(messages[0], { role: "assistant", content: "a", reasoning: "hm" });
});

test("a final assistant message is continued, unless it says nothing", (t) => {
  const user = { role: "user", content: "a" };
  t.true(convert([user, { role: "assistant", content: "The answer is (" }]).continues);
  for (const content of ["", [], [text("")], [{ type: "redacted_thinking" }]]) {
    const { continues, messages } = convert([user, { role: "assistant", content }]);
    t.false(continues);
    t.is(messages.length, 1);
  }
});

const user = { role: "user", content: "a" };
const called = { role: "assistant", content: [text("a"), use("1")] };

const refused: [what: string, messages: object[], code: string, param: string, message?: RegExp][] = [
  [
    "a call without a result at the end",
    [user, called],
    "invalid_value",
    "messages[1].content[1]",
    /without tool_result/,
  ],
  ["a call without a result", [called, user, called], "invalid_value", "messages[0].content[1]"],
  [
    "a result of an unknown call",
    [{ role: "user", content: [result("9")] }],
    "invalid_value",
    "messages[0].content[0].tool_use_id",
  ],
  [
    "a second result",
    [called, { role: "user", content: [result("1"), result("1")] }],
    "invalid_value",
    "messages[1].content[1].tool_use_id",
  ],
  [
    "a result of an answered call",
    [
      called,
      { role: "user", content: [result("1")] },
      { role: "assistant", content: "b" },
      { role: "user", content: [result("1")] },
    ],
    "invalid_value",
    "messages[3].content[0].tool_use_id",
  ],
  [
    "a result without an id",
    [called, { role: "user", content: [{ type: "tool_result" }] }],
    "missing_required_parameter",
    "messages[1].content[0].tool_use_id",
  ],
  [
    "two calls of one id",
    [{ role: "assistant", content: [use("1"), use("1")] }],
    "invalid_value",
    "messages[0].content[1].id",
  ],
  [
    "a call without an id",
    [{ role: "assistant", content: [{ type: "tool_use", name: "f", input: {} }] }],
    "missing_required_parameter",
    "messages[0].content[0].id",
  ],
  ["an empty id", [{ role: "assistant", content: [use("")] }], "invalid_value", "messages[0].content[0].id"],
  [
    "a call without input",
    [{ role: "assistant", content: [{ type: "tool_use", id: "1", name: "f" }] }],
    "missing_required_parameter",
    "messages[0].content[0].input",
  ],
  [
    "a call of an impossible name",
    [{ role: "assistant", content: [use("1", "f g")] }],
    "invalid_value",
    "messages[0].content[0].name",
  ],
  [
    "an image",
    [{ role: "user", content: [text("a"), { type: "image" }] }],
    "unsupported_value",
    "messages[0].content[1]",
    /image input is not supported/,
  ],
  ["a document", [{ role: "user", content: [{ type: "document" }] }], "unsupported_value", "messages[0].content[0]"],
  [
    "an image in a result",
    [called, { role: "user", content: [result("1", [{ type: "image" }])] }],
    "unsupported_value",
    "messages[1].content[0].content[0]",
  ],
  ["a call by a user", [{ role: "user", content: [use("1")] }], "invalid_value", "messages[0].content[0]"],
  [
    "a result by an assistant",
    [{ role: "assistant", content: [result("1")] }],
    "invalid_value",
    "messages[0].content[0]",
  ],
  [
    "a text block without text",
    [{ role: "user", content: [{ type: "text" }] }],
    "missing_required_parameter",
    "messages[0].content[0].text",
  ],
  ["nobody speaking", [{ role: "system", content: "a" }], "invalid_value", "messages"],
  ["an empty turn alone", [{ role: "assistant", content: "" }], "invalid_value", "messages"],
];

for (const [what, messages, code, param, message] of refused) {
  test(`${what} is refused at its place`, (t) => {
    const told = refusal(() => convert(messages));
    t.like(told, { status: 400, code, param });
    if (message) t.regex(told!.message, message);
  });
}
