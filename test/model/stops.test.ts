// Stop strings of the caller's where the model calls tools.
import test from "ava";
import { jsonOf } from "../helpers/server.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const request = {
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [{ type: "function", function: { name: "get_weather", description: "Weather of a city", parameters } }],
  tool_choice: "required",
  temperature: 0,
  reasoning_effort: "none",
};

test("a call cut by a stop string is no call to be made: the reason is stop, streamed or not", async (t) => {
  const { post } = await startTinyApi(t);
  const ask = (fields: object) => post("/v1/chat/completions", { ...request, ...fields });
  const reasons = async (stop: string) => {
    const { choices } = await jsonOf(await ask({ stop }));
    const streamed = await (await ask({ stop, stream: true })).text();
    const [last] = streamed.match(/(?<="finish_reason":")\w+/) ?? [];
    return { reason: choices[0].finish_reason, last, text: choices[0].message.tool_calls[0].function.arguments };
  };
  t.deepEqual(await reasons("aris"), { reason: "stop", last: "stop", text: '{"city": "P' });
  // Behind its arguments the call is whole.
  t.deepEqual(await reasons("\n</tool_call>"), {
    reason: "tool_calls",
    last: "tool_calls",
    text: '{"city": "Paris"}',
  });
});

test("on Responses such a call is incomplete, in an answer that is complete", async (t) => {
  const { post } = await startTinyApi(t);
  const { messages, tools, reasoning_effort: effort, ...rest } = request;
  const tool = { type: "function", ...tools[0]!.function };
  const body = { ...rest, input: messages, tools: [tool], reasoning: { effort } };
  const answer = await jsonOf(await post("/v1/responses", { ...body, stop: "aris" }));
  t.like(answer, { status: "completed", output: [{ status: "incomplete", arguments: '{"city": "P' }] });
  const whole = await jsonOf(await post("/v1/responses", { ...body, stop: "\n</tool_call>" }));
  t.like(whole, { status: "completed", output: [{ status: "completed", arguments: '{"city": "Paris"}' }] });
});
