// The bytes of every kind of stream, against the files in streams/: what a client reads from the socket, with ids and times made equal.
// STREAMS=write makes the files anew; the difference is for a person to judge.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { packageRoot } from "../../src/paths.ts";
import { startMockApi } from "../helpers/mock-api.ts";

const folder = join(packageRoot, "test", "api", "streams");

const text = (): MockStep[] => [{ text: "Grüße, 🦊\n" }, { text: '"you"' }];
const thought = (): MockStep[] => [{ text: "Hm", kind: "reasoning" }, { text: "…", kind: "reasoning" }, ...text()];
const calls = (): MockStep[] => [
  { text: "Hm", kind: "reasoning" },
  { text: "Let me see." },
  { call: 0, name: "get_weather", arguments: "" },
  { call: 0, arguments: '{"city":' },
  { call: 0, arguments: '"Paris"}' },
  { call: 1, name: "now", arguments: "{}" },
];
const failing = (): MockStep[] => [{ text: "Grü" }, { fail: new Failure("generation_failed", "The engine failed.") }];

const messages = [{ role: "user", content: "Hi" }];
const names = ["get_weather", "now"];
const parameters = { type: "object", properties: { city: { type: "string" } } };
const chatTools = names.map((name) => ({ type: "function", function: { name, parameters } }));
const flatTools = names.map((name) => ({ type: "function", name, parameters }));
const anthropicTools = names.map((name) => ({ name, input_schema: parameters }));

type Kind = readonly [path: string, body: object, script: () => MockStep[]];

const chat = "/v1/chat/completions";
const kinds: Readonly<Record<string, Kind>> = {
  "chat-text": [chat, { messages }, text],
  "chat-usage": [chat, { messages, stream_options: { include_usage: true } }, text],
  "chat-reasoning": [chat, { messages }, thought],
  "chat-tools": [chat, { messages, tools: chatTools }, calls],
  "chat-logprobs": [chat, { messages, logprobs: true, top_logprobs: 1 }, text],
  "chat-choices": [chat, { messages, n: 2, max_tokens: 1 }, text],
  "chat-failure": [chat, { messages }, failing],
  completions: ["/v1/completions", { prompt: "Hi" }, text],
  "completions-usage": ["/v1/completions", { prompt: "Hi", stream_options: { include_usage: true } }, text],
  "completions-failure": ["/v1/completions", { prompt: "Hi" }, failing],
  "completions-logprobs": ["/v1/completions", { prompt: "Hi", logprobs: 1 }, text],
  "completions-n-probs": ["/v1/completions", { prompt: "Hi", n_probs: 1 }, text],
  "completions-echo": ["/v1/completions", { prompt: "Hi", echo: true, logprobs: 1, max_tokens: 1 }, text],
  "completions-prompts": [
    "/v1/completions",
    { prompt: ["Hi", "Ho"], echo: true, logprobs: 0, max_tokens: 0, stream_options: { include_usage: true } },
    text,
  ],
  infill: ["/infill", { input_prefix: "a", input_suffix: "b", seed: 1 }, text],
  "infill-n-probs": ["/infill", { input_prefix: "a", input_suffix: "b", seed: 1, n_probs: 1 }, text],
  "infill-failure": ["/infill", { input_prefix: "a", input_suffix: "b" }, failing],
  "responses-logprobs": [
    "/v1/responses",
    { input: "Hi", include: ["message.output_text.logprobs"], top_logprobs: 1 },
    text,
  ],
  "responses-text": ["/v1/responses", { input: "Hi" }, text],
  "responses-reasoning": ["/v1/responses", { input: "Hi" }, thought],
  "responses-tools": ["/v1/responses", { input: "Hi", tools: flatTools }, calls],
  "responses-incomplete": ["/v1/responses", { input: "Hi", max_output_tokens: 1 }, text],
  "responses-failure": ["/v1/responses", { input: "Hi" }, failing],
  "messages-text": ["/v1/messages", { messages, max_tokens: 9 }, text],
  "messages-reasoning": ["/v1/messages", { messages, max_tokens: 9 }, thought],
  "messages-tools": ["/v1/messages", { messages, max_tokens: 99, tools: anthropicTools }, calls],
  "messages-failure": ["/v1/messages", { messages, max_tokens: 9 }, failing],
};

/** Without what differs from call to call. */
function settled(stream: string): string {
  return stream
    .replace(/"(chatcmpl-|cmpl-|resp_|msg_|rs_|fc_|call_|toolu_)[A-Za-z0-9]{24}"/g, '"$1X"')
    .replace(/"(created|created_at|completed_at)":\d+/g, '"$1":1')
    .replace(/"(\w+_ms|\w+_per_second)":\d+\.\d+/g, '"$1":1');
}

for (const [name, [path, body, script]] of Object.entries(kinds)) {
  test(`${name}: the bytes of the stream`, async (t) => {
    const { post } = await startMockApi(t, { script, fim: true });
    const answer = await post(path, { ...body, stream: true });
    t.is(answer.headers.get("content-type"), "text/event-stream; charset=utf-8");
    const bytes = settled(Buffer.from(await answer.arrayBuffer()).toString());
    const file = join(folder, `${name}.txt`);
    if (process.env.STREAMS === "write") {
      mkdirSync(folder, { recursive: true });
      writeFileSync(file, bytes);
    }
    t.is(bytes, readFileSync(file, "utf8"));
  });
}
