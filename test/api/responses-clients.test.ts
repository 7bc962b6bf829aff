// Clients of /v1/responses besides the official one: LangChain, and a coding agent's request as it is sent.
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import test, { type ExecutionContext } from "ava";
import type { ChatPrompt } from "../../src/engine/engine.ts";
import type { MockEngineOptions, MockStep } from "../../src/engine/mock-engine.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { testKey } from "../helpers/server.ts";

async function startLangChain(t: ExecutionContext, options: MockEngineOptions) {
  const { server } = await startMockApi(t, options);
  const configuration = { baseURL: `${server.url}/v1` };
  return new ChatOpenAI({ model: "m", apiKey: testKey, useResponsesApi: true, maxRetries: 0, configuration });
}

const lookUp = {
  type: "function" as const,
  function: {
    name: "look_up",
    description: "Looks a word up.",
    parameters: { type: "object", properties: { word: { type: "string" } }, required: ["word"] },
  },
};

const callOnce = (): MockStep[] => [
  { text: "Let me see." },
  { call: 0, name: "look_up", arguments: "" },
  { call: 0, arguments: '{"word":' },
  { call: 0, arguments: '"gguf"}' },
];

test("LangChain: an answer, and the same as a stream", async (t) => {
  const model = await startLangChain(t, { script: () => [{ text: "Hi" }, { text: " there" }] });
  const answer = await model.invoke("Hello");
  t.is(answer.text, "Hi there");
  t.like(answer.usage_metadata, { output_tokens: 3 });
  let text = "";
  for await (const chunk of await model.stream("Hello")) text += chunk.text;
  t.is(text, "Hi there");
});

test("LangChain: a call, its result, and the answer to it", async (t) => {
  const prompts: ChatPrompt[] = [];
  let turn = 0;
  const model = await startLangChain(t, {
    script: () => (turn++ === 0 ? callOnce() : [{ text: "A file format." }]),
    onRender: (prompt) => void prompts.push(prompt),
  });
  const withTools = model.bindTools([lookUp]);
  const question = new HumanMessage("What is gguf?");
  const call = await withTools.invoke([question]);
  t.is(call.tool_calls?.length, 1);
  t.like(call.tool_calls![0], { name: "look_up", args: { word: "gguf" } });
  const result = new ToolMessage({ content: "a file format", tool_call_id: call.tool_calls![0]!.id ?? "" });
  const answer = await withTools.invoke([question, call, result]);
  t.is(answer.text, "A file format.");
  t.deepEqual(
    prompts[1]!.messages.map(({ role }) => role),
    ["user", "assistant", "tool"],
  );
  t.is(prompts[1]!.messages[2]!.toolCallId, prompts[1]!.messages[1]!.toolCalls![0]!.id);
});

test("LangChain: streamed calls add up", async (t) => {
  const model = await startLangChain(t, { script: callOnce });
  const stream = await model.bindTools([lookUp]).stream("What is gguf?");
  let whole: Awaited<ReturnType<typeof model.invoke>> | undefined;
  for await (const chunk of stream) whole = whole ? whole.concat(chunk) : chunk;
  t.like(whole?.tool_calls?.[0], { name: "look_up", args: { word: "gguf" } });
});

/** The form of a coding agent's turn: everything in one list, nothing stored, hints that have no meaning here. */
const agentTurn = {
  model: "m",
  instructions: "You are a coding agent.",
  input: [
    { type: "message", role: "developer", content: [{ type: "input_text", text: "Sandbox: none." }] },
    { type: "message", role: "user", content: [{ type: "input_text", text: "<environment/>" }] },
    { type: "message", role: "user", content: [{ type: "input_text", text: "List the files." }] },
    { type: "reasoning", id: "rs_1", summary: [], content: null, encrypted_content: null },
    { type: "function_call", id: "fc_1", call_id: "call_1", name: "shell", arguments: '{"command":["ls"]}' },
    { type: "function_call_output", call_id: "call_1", output: '{"output":"a.txt","metadata":{"exit_code":0}}' },
  ],
  tools: [
    {
      type: "function",
      name: "shell",
      description: "Runs a command.",
      strict: false,
      parameters: {
        type: "object",
        properties: { command: { type: "array", items: { type: "string" } }, timeout_ms: { type: "number" } },
        required: ["command"],
        additionalProperties: false,
      },
    },
    { type: "custom", name: "apply_patch", format: { type: "grammar", syntax: "lark", definition: "start: /x/" } },
    { type: "web_search" },
    { type: "namespace", name: "mcp", tools: [] },
  ],
  tool_choice: "auto",
  parallel_tool_calls: true,
  reasoning: { effort: "medium", summary: "auto" },
  store: false,
  stream: true,
  include: ["reasoning.encrypted_content"],
  prompt_cache_key: "7f9f",
  client_metadata: { installation: "x" },
  text: { verbosity: "low" },
};

test("a coding agent's turn: nothing is refused, what has no effect is told, and every event has its type", async (t) => {
  const prompts: ChatPrompt[] = [];
  const { post } = await startMockApi(t, {
    script: () => [{ text: "Hm", kind: "reasoning" }, { text: "There is a.txt." }],
    onRender: (prompt) => void prompts.push(prompt),
  });
  const answer = await post("/v1/responses", agentTurn);
  t.is(answer.status, 200);
  t.is(
    answer.headers.get("x-ignored-parameters"),
    "client_metadata, tools[1]=custom, tools[2]=web_search, tools[3]=namespace, text.verbosity, reasoning.effort",
  );
  const text = await answer.text();
  const events = [...text.matchAll(/^event: (.*)\ndata: (.*)$/gm)].map(([, name, data]) => [name!, JSON.parse(data!)]);
  t.true(events.every(([name, { type }]) => name === type));
  t.is(events.filter(([name]) => name === "response.output_item.done").length, 2);
  const [last, { response }] = events.at(-1)!;
  t.is(last, "response.completed");
  t.is(typeof response.id, "string");
  t.true(Number.isInteger(response.usage.total_tokens));
  t.deepEqual(
    prompts[0]!.messages.map(({ role, content }) => [role, content]),
    [
      ["system", "You are a coding agent.\n\nSandbox: none."],
      ["user", "<environment/>"],
      ["user", "List the files."],
      ["assistant", ""],
      ["tool", '{"output":"a.txt","metadata":{"exit_code":0}}'],
    ],
  );
  t.deepEqual(
    prompts[0]!.tools!.map(({ name }) => name),
    ["shell"],
  );
});
