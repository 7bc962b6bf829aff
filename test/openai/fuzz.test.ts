// Whatever JSON comes in, parsing gives a valid request or a 400 that names a field; nothing else is ever thrown.
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import type { ChatRequest } from "../../src/openai/chat-request.ts";
import { parseChatRequest } from "../../src/openai/chat-request.ts";
import { type CompletionRequest, parseCompletionRequest } from "../../src/openai/completion-request.ts";
import type { GenerationSettings } from "../../src/openai/sampling-fields.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { atOnce, refusal, testLimits } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const limits = { ...testLimits, config: testConfig() };
const anything = fc.jsonValue({ maxDepth: 3 });
const number = fc.oneof(
  fc.integer({ min: -3, max: 200 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  anything,
);
const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("", "user", "assistant", "system", "text"));
const orAnything = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary }, { weight: 1, arbitrary: anything });

const part = orAnything(
  fc.record(
    { type: fc.constantFrom("text", "refusal", "image_url", "x"), text: orAnything(text) },
    { requiredKeys: [] },
  ),
);
const callId = fc.constantFrom("a", "b", "");
const call = orAnything(
  fc.record(
    {
      id: orAnything(callId),
      type: orAnything(fc.constant("function")),
      function: orAnything(
        fc.record({ name: orAnything(fc.constant("f")), arguments: orAnything(fc.constantFrom("", "{}", "[]", "{")) }),
      ),
    },
    { requiredKeys: [] },
  ),
);
const schema = orAnything(
  fc.dictionary(fc.constantFrom("type", "properties", "items", "enum", "anyOf", "$ref", "x"), anything),
);
const tool = orAnything(
  fc.record(
    {
      type: orAnything(fc.constantFrom("function", "web_search")),
      function: orAnything(
        fc.record(
          {
            name: orAnything(fc.constantFrom("f", "g")),
            description: orAnything(text),
            parameters: orAnything(schema),
            strict: orAnything(fc.boolean()),
          },
          { requiredKeys: ["name"] },
        ),
      ),
    },
    { requiredKeys: [] },
  ),
);
const message = orAnything(
  fc.record(
    {
      role: orAnything(fc.constantFrom("system", "developer", "user", "assistant", "tool", "function")),
      content: orAnything(fc.oneof(text, fc.array(part, { maxLength: 3 }))),
      name: orAnything(text),
      reasoning_content: orAnything(text),
      refusal: orAnything(text),
      tool_calls: orAnything(fc.oneof(fc.constantFrom(null, []), fc.array(call, { maxLength: 2 }))),
      tool_call_id: orAnything(callId),
    },
    { requiredKeys: [] },
  ),
);
const prompt = orAnything(
  fc.oneof(
    text,
    fc.array(fc.oneof(text, number, fc.array(fc.oneof(text, number), { maxLength: 3 })), { maxLength: 4 }),
  ),
);

const numbers =
  "max_tokens max_completion_tokens n_predict temperature top_p top_k min_p repeat_last_n repeat_penalty presence_penalty frequency_penalty seed n n_cmpl best_of".split(
    " ",
  );
const body = fc.record(
  {
    messages: orAnything(fc.array(message, { maxLength: 4 })),
    prompt,
    model: orAnything(text),
    stop: orAnything(fc.oneof(text, fc.array(text, { maxLength: 20 }))),
    stream: orAnything(fc.boolean()),
    stream_options: orAnything(fc.record({ include_usage: orAnything(fc.boolean()) }, { requiredKeys: [] })),
    logit_bias: orAnything(fc.oneof(fc.dictionary(text, number), fc.array(fc.tuple(fc.oneof(text, number), number)))),
    metadata: orAnything(fc.dictionary(text, text)),
    tools: orAnything(fc.array(tool, { maxLength: 3 })),
    tool_choice: orAnything(
      fc.constantFrom(
        "none",
        "auto",
        "required",
        { type: "function", function: { name: "f" } },
        { type: "allowed_tools" },
      ),
    ),
    parallel_tool_calls: orAnything(fc.boolean()),
    logprobs: orAnything(fc.boolean()),
    top_logprobs: number,
    n_probs: number,
    response_format: orAnything(
      fc.oneof(
        fc.constantFrom({ type: "text" }, { type: "json_object" }),
        fc.record({ type: fc.constant("json_schema"), json_schema: orAnything(fc.record({ schema })) }),
      ),
    ),
    json_schema: orAnything(schema),
    grammar: orAnything(text),
    reasoning_effort: orAnything(fc.constantFrom("none", "low")),
    thinking_budget_tokens: number,
    chat_template_kwargs: orAnything(fc.dictionary(fc.constantFrom("enable_thinking", "tools", "x"), anything)),
    continue_final_message: orAnything(fc.constantFrom(true, false, "content")),
    add_generation_prompt: orAnything(fc.boolean()),
    samplers: orAnything(fc.oneof(text, fc.array(text))),
    ...Object.fromEntries(numbers.map((name) => [name, number])),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>;

const object = fc.dictionary(text, anything) as fc.Arbitrary<JsonObject>;

function parseOrRefuse<T>(t: ExecutionContext, parse: () => T): T | undefined {
  let request: T | undefined;
  const told = refusal(() => {
    request = parse();
  });
  if (told) {
    if (told.status !== 400) t.fail(`status ${told.status}`);
    if (typeof told.param !== "string" || told.param === "") t.fail(`no param: ${told.message}`);
    if (told.message.length > 400) t.fail(`a message of ${told.message.length} characters`);
    if (!told.message.endsWith(".")) t.fail(`no sentence: ${told.message}`);
  }
  return request;
}

function checkSettings(t: ExecutionContext, { maxTokens, n, sampling, stop, logitBias }: GenerationSettings): void {
  const { temperature, seed, topP, minP } = sampling;
  const inside = (value: number, min: number, max: number) => value >= min && value <= max;
  if (!Number.isInteger(maxTokens) || maxTokens < -1) t.fail(`maxTokens ${maxTokens}`);
  if (!Number.isInteger(n) || !inside(n, 1, testLimits.maxChoices)) t.fail(`n ${n}`);
  if (!Number.isInteger(seed) || !inside(seed, 0, 2 ** 32 - 1)) t.fail(`seed ${seed}`);
  if (!inside(temperature, 0, 2) || !inside(topP, 0, 1) || !inside(minP, 0, 1)) t.fail(JSON.stringify(sampling));
  if (stop.length > 16 || stop.includes("")) t.fail(JSON.stringify(stop));
  if (logitBias.some(({ bias }) => Number.isNaN(bias) || bias > 100)) t.fail(JSON.stringify(logitBias));
}

function checkChat(t: ExecutionContext, json: JsonObject): ChatRequest | undefined {
  const request = parseOrRefuse(t, () => atOnce(parseChatRequest(json, limits)));
  if (!request) return undefined;
  checkSettings(t, request.settings);
  if (request.prompt.messages.length === 0) t.fail("no messages");
  for (const { role, content } of request.prompt.messages) {
    if (!["system", "user", "assistant", "tool"].includes(role) || typeof content !== "string")
      t.fail(JSON.stringify(request));
  }
  return request;
}

function checkCompletion(t: ExecutionContext, json: JsonObject): CompletionRequest | undefined {
  const request = parseOrRefuse(t, () => parseCompletionRequest(json, limits));
  if (!request) return undefined;
  checkSettings(t, request.settings);
  const valid = (piece: unknown) =>
    typeof piece === "string" || (Number.isInteger(piece) && (piece as number) < testLimits.vocabSize);
  if (!request.prompts.length || !request.prompts.every((pieces) => pieces.length && pieces.every(valid))) {
    t.fail(JSON.stringify(request.prompts));
  }
  return request;
}

test("random JSON objects", (t) => {
  fc.assert(
    fc.property(object, (json) => {
      checkChat(t, json);
      checkCompletion(t, json);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test("bodies that look like requests", (t) => {
  fc.assert(
    fc.property(body, (json) => {
      checkChat(t, json);
      checkCompletion(t, json);
    }),
    { numRuns: 1500 },
  );
  t.pass();
});

test("one wrong field in an otherwise valid request is the one that is named", (t) => {
  const wrong = fc.constantFrom<[string, unknown]>(
    ["temperature", 3],
    ["top_p", "1"],
    ["stop", [""]],
    ["n", 0],
    ["seed", 0.5],
    ["stream", 1],
    ["logit_bias", { "1": 101 }],
    ["messages", []],
    ["model", 5],
  );
  const calm = { messages: [{ role: "user", content: "x" }], temperature: 1, top_p: 0.5, n: 2, seed: 1, model: "m" };
  fc.assert(
    fc.property(wrong, fc.shuffledSubarray(Object.keys(calm)), ([name, value], order) => {
      const ordered = Object.fromEntries(order.map((key) => [key, calm[key as keyof typeof calm]]));
      const told = refusal(() =>
        atOnce(parseChatRequest({ ...ordered, messages: calm.messages, [name]: value }, limits)),
      );
      return told?.param?.startsWith(name) === true;
    }),
  );
  t.pass();
});

test("what is valid stays valid with any ignored fields around it, and they are all reported", (t) => {
  const extra = fc.dictionary(
    fc.stringMatching(/^zz[a-z]{0,10}$/),
    fc.jsonValue().filter((value) => value !== null),
  );
  fc.assert(
    fc.property(extra, (fields) => {
      const request = checkChat(t, { ...fields, messages: [{ role: "user", content: "x" }] });
      t.deepEqual(request?.ignored, Object.keys(fields));
    }),
    { numRuns: 50 },
  );
});
