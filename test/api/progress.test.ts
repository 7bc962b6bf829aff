// What streams tell about the making of an answer on request: the prompt's progress and the timings so far, in every dialect that can.
import test from "ava";
import type { GenerationRequest } from "../../src/engine/engine.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { startMockApi } from "../helpers/mock-api.ts";

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;

const script = (): MockStep[] => [{ text: "Hm", kind: "reasoning" }, { text: "Hi" }];
const messages = [{ role: "user", content: "Hello" }];
const asked = { stream: true, return_progress: true, timings_per_token: true };

const eventsOf = async (response: Response): Promise<Json[]> =>
  [...(await response.text()).matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!));

test("chat: the role, the progress from nothing to all, then chunks with the timings so far", async (t) => {
  const { post } = await startMockApi(t, { script });
  const chunks = await eventsOf(await post("/v1/chat/completions", { messages, ...asked }));
  const total = chunks[1].prompt_progress.total;
  t.deepEqual(
    chunks.map(({ choices, prompt_progress, timings }) => [
      prompt_progress?.processed ?? choices[0].delta,
      timings?.predicted_n,
    ]),
    [
      [{ role: "assistant", content: "" }, undefined],
      [0, 0],
      [total, 0],
      [{ reasoning_content: "Hm" }, 1],
      [{ content: "Hi" }, 2],
      [{}, 3],
    ],
  );
  t.deepEqual(Object.keys(chunks[1].prompt_progress), ["total", "cache", "processed", "time_ms"]);
  t.deepEqual(chunks[1].choices, [{ index: 0, delta: {}, logprobs: null, finish_reason: null }]);
});

test("chat: with usage the timings of the whole answer are on the usage chunk as well", async (t) => {
  const { post } = await startMockApi(t, { script });
  const stream_options = { include_usage: true };
  const chunks = await eventsOf(await post("/v1/chat/completions", { messages, ...asked, stream_options, n: 2 }));
  t.is(chunks.filter(({ prompt_progress }) => prompt_progress).length, 4);
  t.deepEqual(chunks.at(-1).choices, []);
  t.is(chunks.at(-1).timings.predicted_n, 3);
  for (const { choices, timings } of chunks) t.is(timings === undefined, choices[0]?.delta.role !== undefined);
});

test("Responses: the progress rides on response.in_progress, the timings on the deltas", async (t) => {
  const { post } = await startMockApi(t, { script });
  const events = await eventsOf(await post("/v1/responses", { input: "Hello", ...asked }));
  t.deepEqual(
    events.slice(0, 4).map(({ type, prompt_progress }) => [type, prompt_progress?.processed]),
    [
      ["response.created", undefined],
      ["response.in_progress", undefined],
      ["response.in_progress", 0],
      ["response.in_progress", events[3].prompt_progress.total],
    ],
  );
  t.deepEqual(
    events.map(({ sequence_number }) => sequence_number),
    [...events.keys()],
  );
  const deltas = events.filter(({ type }) => type.endsWith(".delta"));
  t.deepEqual(
    deltas.map(({ timings }) => timings.predicted_n),
    [1, 2],
  );
});

test("nothing of it without a stream, nor on Messages, which say so", async (t) => {
  const requests: GenerationRequest[] = [];
  const { post } = await startMockApi(t, {
    script: (request) => {
      requests.push(request);
      return script();
    },
  });
  const whole = (await (await post("/v1/chat/completions", { messages, ...asked, stream: false })).json()) as Json;
  t.is(whole.timings.predicted_n, 3);
  t.false("prompt_progress" in whole);
  const message = await post("/v1/messages", { messages, max_tokens: 5, ...asked });
  t.is(message.headers.get("x-ignored-parameters"), "return_progress, timings_per_token");
  t.false((await message.text()).includes("timings"));
  t.true(requests.every(({ reportProgress, reportTimings }) => !reportProgress && !reportTimings));
});
