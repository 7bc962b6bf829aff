// What is streamed adds up to the plain answer: 200 seeded requests with random settings over the four generating routes, with tools,
// reasoning, JSON, stop strings, several choices and log-probabilities.
import test from "ava";
import fc from "fast-check";
import { type Dialect, dialects, eventsOf } from "../helpers/folded.ts";
import { jsonOf } from "../helpers/server.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

const question = fc.constantFrom(
  "What is a cat?",
  "Write a poem about the moon.",
  "Say hello in Russian.",
  "Show me a rocket emoji.",
  "What is the weather in Paris?",
  "Describe a fox as JSON.",
);
const settings = fc.record({
  temperature: fc.constantFrom(0, 0.7, 1, 1.5),
  top_k: fc.constantFrom(0, 5, 40),
  top_p: fc.constantFrom(0.9, 1),
  seed: fc.nat(),
});
const limit = fc.constantFrom(3, 30, 100, 100);
const thinking = fc.constantFrom(
  { chat_template_kwargs: { enable_thinking: false } },
  { chat_template_kwargs: { enable_thinking: true } },
  { thinking_budget_tokens: 5 },
  {},
);
const merged = (...parts: fc.Arbitrary<object>[]): fc.Arbitrary<object> =>
  fc.tuple(...parts).map((fields) => Object.assign({}, ...fields));

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "get_weather", description: "Get the weather for a city", parameters };
const calculator = {
  name: "calculator",
  description: "Calculates",
  parameters: { type: "object", properties: { expression: { type: "string" } }, required: ["expression"] },
};
const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 9 }, age: { type: "integer", minimum: 0, maximum: 99 } },
  required: ["name", "age"],
};
const stop = [" it", "e "];
const ask = (name: string) => question.map((content) => ({ [name]: [{ role: "user", content }] }));

const chatTools = [weather, calculator].map((own) => ({ type: "function", function: own }));
const chat = merged(
  ask("messages"),
  settings,
  thinking,
  limit.map((max_tokens) => ({ max_tokens })),
  fc.constantFrom(
    {},
    { tools: chatTools },
    { tools: chatTools.slice(0, 1), tool_choice: "required" },
    { response_format: { type: "json_object" } },
    { response_format: { type: "json_schema", json_schema: { name: "s", schema } } },
    { reasoning_format: "none" },
    { stop },
  ),
  fc.constantFrom({}, {}, { n: 2 }, { logprobs: true }, { logprobs: true, top_logprobs: 3 }),
);

const beginning = fc.constantFrom(
  "1, 2, 3, 4,",
  "Once upon a time",
  "The weather in Paris is",
  "Привет",
  "{",
  [300, 301],
);
const completion = merged(
  fc.oneof(beginning, fc.tuple(beginning, beginning)).map((prompt) => ({ prompt })),
  settings,
  limit.map((max_tokens) => ({ max_tokens })),
);
const completions = merged(
  completion,
  fc.constantFrom({}, { stop }, { n: 2 }, { grammar: 'root ::= ("yes" | "no" | "é")+' }),
  fc.constantFrom({}, {}, { echo: true }),
);
/** One choice after the other: beside another, a prompt is read in pieces that follow the clock, and sums differ in the last bits. */
const scoredCompletions = merged(
  completion,
  fc.constantFrom({}, {}, { stop }, { max_tokens: 0, echo: true }, { grammar: 'root ::= ("yes" | "no" | "é")+' }),
  fc.constantFrom({ logprobs: 0 }, { logprobs: 3 }, { logprobs: 3 }, { logprobs: 20 }, { n_probs: 2 }),
  fc.constantFrom({}, { echo: true }),
);

const flatTools = [weather, calculator].map((own) => ({ type: "function", ...own }));
const responses = merged(
  ask("input"),
  settings,
  thinking,
  limit.map((max_output_tokens) => ({ max_output_tokens })),
  fc.constantFrom(
    {},
    { tools: flatTools },
    { tools: flatTools, tool_choice: "required" },
    { tools: flatTools.slice(0, 1), tool_choice: "required" },
    { text: { format: { type: "json_schema", name: "s", schema } } },
    { include: ["message.output_text.logprobs"], top_logprobs: 2 },
    { stop },
  ),
);

const anthropicTools = [weather, calculator].map(({ parameters, ...own }) => ({ ...own, input_schema: parameters }));
const messages = merged(
  ask("messages"),
  settings,
  limit.map((max_tokens) => ({ max_tokens })),
  fc.constantFrom<object>({}, { thinking: { type: "enabled", budget_tokens: 2 } }, { thinking: { type: "disabled" } }),
  fc.constantFrom(
    {},
    { tools: anthropicTools },
    { tools: anthropicTools, tool_choice: { type: "any" } },
    { tools: anthropicTools.slice(0, 1), tool_choice: { type: "any" } },
    { output_config: { format: { type: "json_schema", schema } } },
    { stop_sequences: stop },
  ),
);

type Route = {
  readonly path: string;
  readonly dialect: Dialect;
  readonly body: fc.Arbitrary<object>;
  readonly count: number;
  /** In how many answers each of these is at least. */
  readonly least: Partial<Record<"text" | "reasoning" | "calls" | "logprobs", number>>;
  readonly oneByOne?: true;
};

const { chat: chatDialect, completions: completionsDialect } = dialects;
const routes: readonly Route[] = [
  {
    path: "/v1/chat/completions",
    dialect: chatDialect,
    body: chat,
    count: 70,
    least: { text: 23, reasoning: 10, calls: 5, logprobs: 20 },
  },
  { path: "/v1/completions", dialect: completionsDialect, body: completions, count: 20, least: { text: 15 } },
  {
    path: "/v1/completions",
    dialect: completionsDialect,
    body: scoredCompletions,
    count: 30,
    least: { text: 20, logprobs: 30 },
    oneByOne: true,
  },
  {
    path: "/v1/responses",
    dialect: dialects.responses,
    body: responses,
    count: 40,
    least: { text: 13, reasoning: 10, calls: 5, logprobs: 4 },
  },
  {
    path: "/v1/messages",
    dialect: dialects.messages,
    body: messages,
    count: 40,
    least: { text: 13, reasoning: 10, calls: 5 },
  },
];

test("200 streamed answers concatenate to the plain ones, whatever is asked", async (t) => {
  const together = await startTinyApi(t);
  const oneByOne = await startTinyApi(t, { MAX_CONCURRENT_REQUESTS: "1" });
  for (const { path, dialect, body, count, least, oneByOne: alone } of routes) {
    const { post } = alone ? oneByOne : together;
    const seen = { text: 0, reasoning: 0, calls: 0, logprobs: 0 };
    for (const random of fc.sample(body, { seed: 5, numRuns: count })) {
      // Prompts that are cached differently are evaluated in other batches, whose sums may differ in the last bit.
      const request = { ...random, cache_prompt: false };
      const shown = `${path} ${JSON.stringify(request)}`;
      const answer = await post(path, request);
      t.is(answer.status, 200, `${shown} ${answer.status === 200 ? "" : await answer.clone().text()}`);
      const plain = dialect.plain(await jsonOf(answer));
      const stream = await post(path, { ...request, stream: true });
      t.deepEqual(dialect.streamed(eventsOf(await stream.text())), plain, shown);
      for (const choice of plain) {
        t.truthy(choice.finish, shown);
        for (const part of ["text", "reasoning", "calls", "logprobs"] as const)
          if (choice[part].length > 0) seen[part] += 1;
      }
    }
    t.log(path, seen);
    for (const [part, times] of Object.entries(least))
      t.true(seen[part as keyof typeof seen] >= times, `${path} ${part}`);
  }
});
