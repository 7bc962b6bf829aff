// The events of a response: their order, numbers and indices, and that a plain answer is what its stream adds up to.
import test from "ava";
import type { AnswerPart, GenerationEvent } from "../../src/engine/engine.ts";
import { Failure } from "../../src/errors.ts";
import { ResponseAnswer } from "../../src/openai/responses-events.ts";
import type { ResponseEcho } from "../../src/openai/responses-object.ts";

const head = { id: "resp_1", created: 7, model: "served", fingerprint: "b1" };

const echo: ResponseEcho = {
  instructions: null,
  max_output_tokens: null,
  metadata: {},
  parallel_tool_calls: true,
  reasoning: { effort: null, summary: null },
  temperature: 1,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: [],
  top_p: 1,
};

const finish = (reason: "stop" | "length" = "stop"): GenerationEvent => ({
  type: "finish",
  reason,
  stopString: null,
  usage: { promptTokens: 10, cachedTokens: 4, completionTokens: 6, reasoningTokens: 2 },
  timings: { queueMs: 0, prefillMs: 0, decodeMs: 0 },
});

const delta = (...parts: AnswerPart[]): GenerationEvent => ({ type: "delta", parts });
const text = (text: string): AnswerPart => ({ kind: "content", text });
const thought = (text: string): AnswerPart => ({ kind: "reasoning", text });
const call = (index: number, pieces: string, name?: string): AnswerPart => ({
  kind: "tool_call",
  index,
  arguments: pieces,
  ...(name && { name }),
});

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;

/** All events of a stream, with the random ids replaced by their prefix and order. */
function play(...events: GenerationEvent[]): Json[] {
  const form = new ResponseAnswer(head, echo);
  return settle(events.flatMap((event) => form.chunks({ choice: 0, event })));
}

function settle(events: object[]): Json[] {
  const names = new Map<string, string>();
  const json = JSON.stringify(events).replace(/"(rs|msg|fc|call)_[A-Za-z0-9]{24}"/g, (id) => {
    if (!names.has(id)) names.set(id, `"${id.slice(1, id.indexOf("_"))}_${names.size}"`);
    return names.get(id)!;
  });
  return JSON.parse(json.replace(/"completed_at":\d+/g, '"completed_at":8'));
}

const everything = [
  delta(thought("Hm")),
  delta(thought("m"), text("Hi")),
  delta(text(" you")),
  delta(call(0, "", "f")),
  delta(call(0, '{"a":')),
  delta(call(0, "1}"), call(1, "{}", "g")),
];

test("reasoning, text and two calls: every event in order, item by item", (t) => {
  const events = play(...everything, finish());
  const usage = {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 4 },
    output_tokens: 6,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 16,
  };
  const begun = {
    id: "resp_1",
    object: "response",
    created_at: 7,
    completed_at: null,
    status: "in_progress",
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    metadata: {},
    model: "served",
    output: [],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: 1,
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    truncation: "disabled",
    usage: null,
  };
  const reasoning = {
    type: "reasoning",
    id: "rs_0",
    summary: [],
    content: [{ type: "reasoning_text", text: "Hmm" }],
    encrypted_content: null,
    status: "completed",
  };
  const part = { type: "output_text", text: "Hi you", annotations: [], logprobs: [] };
  const message = { type: "message", id: "msg_1", role: "assistant", status: "completed", content: [part] };
  const f = {
    type: "function_call",
    id: "fc_2",
    call_id: "call_3",
    name: "f",
    arguments: '{"a":1}',
    status: "completed",
  };
  const g = { type: "function_call", id: "fc_4", call_id: "call_5", name: "g", arguments: "{}", status: "completed" };
  const [r, m] = [
    { item_id: "rs_0", output_index: 0, content_index: 0 },
    { item_id: "msg_1", output_index: 1, content_index: 0 },
  ];
  const [c, d] = [
    { item_id: "fc_2", output_index: 2 },
    { item_id: "fc_4", output_index: 3 },
  ];
  const expected = [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    {
      type: "response.output_item.added",
      output_index: 0,
      item: { ...reasoning, content: [], status: "in_progress" },
    },
    { type: "response.content_part.added", ...r, part: { type: "reasoning_text", text: "" } },
    { type: "response.reasoning_text.delta", ...r, delta: "Hm" },
    { type: "response.reasoning_text.delta", ...r, delta: "m" },
    { type: "response.reasoning_text.done", ...r, text: "Hmm" },
    { type: "response.content_part.done", ...r, part: { type: "reasoning_text", text: "Hmm" } },
    { type: "response.output_item.done", output_index: 0, item: reasoning },
    { type: "response.output_item.added", output_index: 1, item: { ...message, content: [], status: "in_progress" } },
    { type: "response.content_part.added", ...m, part: { ...part, text: "" } },
    { type: "response.output_text.delta", ...m, delta: "Hi", logprobs: [] },
    { type: "response.output_text.delta", ...m, delta: " you", logprobs: [] },
    { type: "response.output_text.done", ...m, text: "Hi you", logprobs: [] },
    { type: "response.content_part.done", ...m, part },
    { type: "response.output_item.done", output_index: 1, item: message },
    { type: "response.output_item.added", output_index: 2, item: { ...f, arguments: "", status: "in_progress" } },
    { type: "response.function_call_arguments.delta", ...c, delta: '{"a":' },
    { type: "response.function_call_arguments.delta", ...c, delta: "1}" },
    { type: "response.function_call_arguments.done", ...c, name: "f", arguments: '{"a":1}' },
    { type: "response.output_item.done", output_index: 2, item: f },
    { type: "response.output_item.added", output_index: 3, item: { ...g, arguments: "", status: "in_progress" } },
    { type: "response.function_call_arguments.delta", ...d, delta: "{}" },
    { type: "response.function_call_arguments.done", ...d, name: "g", arguments: "{}" },
    { type: "response.output_item.done", output_index: 3, item: g },
    {
      type: "response.completed",
      response: { ...begun, completed_at: 8, status: "completed", output: [reasoning, message, f, g], usage },
    },
  ];
  t.deepEqual(
    events,
    expected.map((event, sequence_number) => ({ ...event, sequence_number })),
  );
});

test("a plain answer is the response of the stream's last event", (t) => {
  const form = new ResponseAnswer(head, echo);
  for (const event of [...everything, finish()]) form.observe({ choice: 0, event });
  t.deepEqual(settle([form.reply()]), [play(...everything, finish()).at(-1).response]);
});

test("a cut answer: its last item is incomplete and still gets its done, the earlier ones are complete", (t) => {
  const events = play(delta(thought("Hm")), delta(call(0, '{"a', "f")), finish("length"));
  const { type, response } = events.at(-1);
  t.is(type, "response.incomplete");
  t.like(response, {
    status: "incomplete",
    incomplete_details: { reason: "max_output_tokens" },
    error: null,
    completed_at: null,
  });
  t.deepEqual(
    response.output.map(({ status }: Json) => status),
    ["completed", "incomplete"],
  );
  t.like(events.at(-2), { type: "response.output_item.done", item: { arguments: '{"a', status: "incomplete" } });
});

test("an answer without text is one empty message", (t) => {
  for (const [reason, status] of [["stop", "completed"] as const, ["length", "incomplete"] as const]) {
    const { response } = play(finish(reason)).at(-1);
    t.like(response, { status, output: [{ type: "message", status, content: [{ type: "output_text", text: "" }] }] });
  }
});

test("keepalives are counted, and the stream is opened before the first of them only once", (t) => {
  const form = new ResponseAnswer(head, echo);
  const silence = () => [...form.opening(), form.keepalive()];
  const events = [...silence(), ...silence(), ...form.chunks({ choice: 0, event: delta(text("a")) })] as Json[];
  t.deepEqual(
    events.map(({ type }) => type),
    [
      "response.created",
      "response.in_progress",
      "keepalive",
      "keepalive",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
    ],
  );
  t.deepEqual(
    events.map(({ sequence_number }) => sequence_number),
    [...events.keys()],
  );
  t.deepEqual(Object.keys(events[2]), ["type", "sequence_number"]);
});

test("a failure: an error event with its members twice, then response.failed with what there was", (t) => {
  const form = new ResponseAnswer(head, echo);
  form.chunks({ choice: 0, event: delta(text("Half")) });
  const [error, failed] = form.failure(new Failure("generation_failed", "It broke.", { param: "x" })) as Json[];
  const { sequence_number, ...members } = error;
  t.deepEqual(members, {
    type: "error",
    code: "generation_failed",
    message: "It broke.",
    param: "x",
    error: { message: "It broke.", type: "server_error", param: "x", code: "generation_failed" },
  });
  t.like(failed, {
    type: "response.failed",
    sequence_number: sequence_number + 1,
    response: {
      status: "failed",
      error: { code: "generation_failed", message: "It broke." },
      usage: null,
      output: [{ status: "incomplete", content: [{ text: "Half" }] }],
    },
  });
});
