// Engine events as Messages events and as one message: order of blocks, their balance, reasons for stopping, usage.
import test from "ava";
import { MessageAnswer, type MessageLimits } from "../../src/anthropic/message-answer.ts";
import type { AnswerPart, GenerationEvent } from "../../src/engine/engine.ts";
import { ChoiceFold, type Finish } from "../../src/openai/answer.ts";

const head = { id: "msg_1", created: 1, model: "served", fingerprint: "b1" };
const limits: MessageLimits = { stopSequences: ["END"], maxTokens: 10, limitedByContext: false };

function finish(members: Partial<Finish> = {}): Finish {
  return {
    type: "finish",
    reason: "stop",
    stopString: null,
    usage: { promptTokens: 9, cachedTokens: 4, completionTokens: 5, reasoningTokens: 2 },
    timings: { queueMs: 0, prefillMs: 0, decodeMs: 0 },
    ...members,
  };
}

const text = (text: string): AnswerPart => ({ kind: "content", text });
const thought = (text: string): AnswerPart => ({ kind: "reasoning", text });
const call = (index: number, name: string): AnswerPart => ({ kind: "tool_call", index, name, arguments: "" });
const argument = (index: number, text: string): AnswerPart => ({ kind: "tool_call", index, arguments: text });
const delta = (...parts: AnswerPart[]): GenerationEvent => ({ type: "delta", parts });

// biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like
type Json = any;

function streamed(events: readonly GenerationEvent[], given: Partial<MessageLimits> = {}): Json[] {
  const answer = new MessageAnswer(head, 9, { ...limits, ...given });
  answer.prefillBegan(4);
  return events.flatMap((event) => answer.chunks({ choice: 0, event }));
}

function whole(events: readonly GenerationEvent[], given: Partial<MessageLimits> = {}): Json {
  const fold = new ChoiceFold();
  for (const event of events) fold.add(event);
  return new MessageAnswer(head, 9, { ...limits, ...given }).reply([fold.result()]);
}

const usage = {
  input_tokens: 5,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 4,
  output_tokens: 5,
  output_tokens_details: { thinking_tokens: 2 },
};

const everything = [
  delta(thought("Hm")),
  delta(thought("m"), text("I ")),
  delta(text("call"), call(0, "f"), argument(0, '{"a"')),
  delta(argument(0, ":1}"), call(1, "g")),
  finish(),
];

test("an answer with everything, as events", (t) => {
  const events = streamed(everything);
  const ids = events.flatMap(({ content_block }) => content_block?.id ?? []);
  t.is(new Set(ids).size, 2);
  for (const id of ids) t.regex(id, /^toolu_[A-Za-z0-9]{24}$/);
  const zero = { ...usage, output_tokens: 0, output_tokens_details: { thinking_tokens: 0 } };
  const message = { id: "msg_1", type: "message", role: "assistant", model: "served", content: [] };
  const piece = (index: number, delta: object) => ({ type: "content_block_delta", index, delta });
  t.deepEqual(events, [
    { type: "message_start", message: { ...message, stop_reason: null, stop_sequence: null, usage: zero } },
    { type: "ping" },
    { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } },
    piece(0, { type: "thinking_delta", thinking: "Hm" }),
    piece(0, { type: "thinking_delta", thinking: "m" }),
    piece(0, { type: "signature_delta", signature: "" }),
    { type: "content_block_stop", index: 0 },
    { type: "content_block_start", index: 1, content_block: { type: "text", text: "" } },
    piece(1, { type: "text_delta", text: "I " }),
    piece(1, { type: "text_delta", text: "call" }),
    { type: "content_block_stop", index: 1 },
    { type: "content_block_start", index: 2, content_block: { type: "tool_use", id: ids[0], name: "f", input: {} } },
    piece(2, { type: "input_json_delta", partial_json: '{"a"' }),
    piece(2, { type: "input_json_delta", partial_json: ":1}" }),
    { type: "content_block_stop", index: 2 },
    { type: "content_block_start", index: 3, content_block: { type: "tool_use", id: ids[1], name: "g", input: {} } },
    { type: "content_block_stop", index: 3 },
    { type: "message_delta", delta: { stop_reason: "tool_use", stop_sequence: null }, usage },
    { type: "message_stop" },
  ]);
});

test("the same answer as one message", (t) => {
  const reply = whole(everything);
  const ids = reply.content.flatMap(({ id }: Json) => id ?? []);
  t.is(new Set(ids).size, 2);
  t.deepEqual(reply, {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "served",
    content: [
      { type: "thinking", thinking: "Hmm", signature: "" },
      { type: "text", text: "I call" },
      { type: "tool_use", id: ids[0], name: "f", input: { a: 1 } },
      { type: "tool_use", id: ids[1], name: "g", input: {} },
    ],
    stop_reason: "tool_use",
    stop_sequence: null,
    usage,
  });
});

test("an answer of nothing has one empty text block, in a stream, too", (t) => {
  const reply = whole([finish()]);
  t.deepEqual(reply.content, [{ type: "text", text: "" }]);
  t.is(reply.stop_reason, "end_turn");
  t.deepEqual(
    streamed([finish()]).map(({ type }) => type),
    ["message_start", "ping", "content_block_start", "content_block_stop", "message_delta", "message_stop"],
  );
});

test("a call that is cut off is dropped from a message; in a stream its block ends", (t) => {
  const cut = [delta(text("a"), call(0, "f"), argument(0, '{"a": [')), finish({ reason: "length" })];
  const reply = whole(cut);
  t.deepEqual(reply.content, [{ type: "text", text: "a" }]);
  t.is(reply.stop_reason, "max_tokens");
  const types = streamed(cut).map(({ type }) => type);
  t.deepEqual(types.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
  t.is(types.filter((type) => type === "content_block_start").length, 2);
  t.deepEqual(whole([delta(call(0, "f")), finish({ reason: "length" })]).content, [{ type: "text", text: "" }]);
});

test("text after a call is a block of its own", (t) => {
  const { content } = whole([delta(text("a"), call(0, "f"), text("b")), finish()]);
  t.deepEqual(
    content.map(({ type }: Json) => type),
    ["text", "tool_use", "text"],
  );
});

test("why an answer stopped", (t) => {
  const reasonOf = (ending: Partial<Finish>, given: Partial<MessageLimits> = {}, parts = [text("a")]) => {
    const events = [delta(...parts), finish(ending)];
    const { stop_reason, stop_sequence } = whole(events, given);
    t.deepEqual(streamed(events, given).at(-2).delta, { stop_reason, stop_sequence });
    return [stop_reason, stop_sequence];
  };
  const tokens = (completionTokens: number) => ({ usage: { ...finish().usage, completionTokens } });
  t.deepEqual(reasonOf({}), ["end_turn", null]);
  t.deepEqual(reasonOf({ stopString: "END" }), ["stop_sequence", "END"]);
  t.deepEqual(reasonOf({ stopString: "<|template's|>" }), ["end_turn", null]);
  t.deepEqual(reasonOf({ stopString: "END" }, {}, [call(0, "f")]), ["stop_sequence", "END"]);
  t.deepEqual(reasonOf({}, {}, [call(0, "f")]), ["tool_use", null]);
  t.deepEqual(reasonOf({ reason: "length", ...tokens(10) }), ["max_tokens", null]);
  const room = { limitedByContext: true };
  t.deepEqual(reasonOf({ reason: "length", ...tokens(10) }, room), ["model_context_window_exceeded", null]);
  t.deepEqual(reasonOf({ reason: "length", ...tokens(9) }, room), ["max_tokens", null]);
});
