import test from "ava";
import { parseMessagesRequest } from "../../src/anthropic/messages-request.ts";
import { inTurns } from "../../src/api/in-turns.ts";
import { parseChatRequest } from "../../src/openai/chat-request.ts";
import type { Paced } from "../../src/openai/paced.ts";
import { parseResponsesRequest } from "../../src/openai/responses-request.ts";
import { testLimits } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

function holdLoop(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** Stops after each step. */
function* work(steps: number, milliseconds: number, done: () => void = () => undefined): Paced<string> {
  for (let step = 0; step < steps; step++) {
    holdLoop(milliseconds);
    done();
    yield;
  }
  return "all";
}

test("others have their turns beside long work", async (t) => {
  let steps = 0;
  const seen: number[] = [];
  const look = () => {
    seen.push(steps);
    if (steps < 4) setImmediate(look);
  };
  setImmediate(look);
  const result = await inTurns(work(4, 6, () => (steps += 1)));
  t.is(result, "all");
  t.deepEqual(seen, [1, 2, 3, 4]);
});

test("what is thrown after a stop reaches the caller", async (t) => {
  function* failing(): Paced<string> {
    yield* work(2, 6);
    throw new RangeError("late");
  }
  await t.throwsAsync(inTurns(failing()), { instanceOf: RangeError, message: "late" });
});

const limits = { ...testLimits, config: testConfig() };
const schema = { type: "object", properties: { a: { type: "string" } } };
const names = Array.from({ length: 40 }, (_, index) => `f${index}`);
const messages = [{ role: "user", content: "Hi" }];

const requests: Record<string, Paced<{ prompt: { tools?: readonly unknown[] } }>> = {
  chat: parseChatRequest(
    { messages, tools: names.map((name) => ({ type: "function", function: { name, parameters: schema } })) },
    limits,
  ),
  responses: parseResponsesRequest(
    { input: "Hi", tools: names.map((name) => ({ type: "function", name, parameters: schema })) },
    limits,
  ),
  messages: parseMessagesRequest(
    { max_tokens: 1, messages, tools: names.map((name) => ({ name, input_schema: schema })) },
    limits,
  ),
};

for (const [name, parse] of Object.entries(requests)) {
  test(`the tools of a ${name} request are read one at a time`, (t) => {
    let stops = 0;
    let step = parse.next();
    for (; !step.done; step = parse.next()) stops += 1;
    t.is(step.value.prompt.tools?.length, names.length);
    t.true(stops >= names.length, `${stops} stops`);
  });
}
