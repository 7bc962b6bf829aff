// Tools together with a JSON form on tiny-chat, in each dialect: an answer is calls or JSON by the schema, streamed and plain alike, and
// the field that asks for JSON is named where a template cannot combine them. Also JSON in answers without the beginning of a turn.
import test from "ava";
import { unpackTemplates } from "../helpers/bundled-templates.ts";
import { type Dialect, dialects, eventsOf, type FoldedChoice } from "../helpers/folded.ts";
import { compileValidator } from "../helpers/schemas.ts";
import { jsonOf } from "../helpers/server.ts";
import { shareTinyApi, startTinyApi } from "../helpers/tiny-api.ts";

const api = shareTinyApi(test);

const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 9 }, age: { type: "integer", minimum: 0, maximum: 99 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const isValid = compileValidator(schema);
const parameters = { type: "object", properties: { city: { type: "string", maxLength: 12 } }, required: ["city"] };
const weather = { name: "get_weather", description: "Get the weather for a city" };
const callOf = /^get_weather\((.*)\)$/;

type Route = { readonly path: string; readonly dialect: Dialect; readonly field: string; readonly form: object };

const chatTools = [{ type: "function", function: { ...weather, parameters } }];
const routes: readonly Route[] = [
  {
    path: "/v1/chat/completions",
    dialect: dialects.chat,
    field: "response_format",
    form: { tools: chatTools, response_format: { type: "json_schema", json_schema: { schema } } },
  },
  {
    path: "/v1/chat/completions",
    dialect: dialects.chat,
    field: "json_schema",
    form: { tools: chatTools, json_schema: schema, parallel_tool_calls: false },
  },
  {
    path: "/v1/responses",
    dialect: dialects.responses,
    field: "text.format",
    form: {
      tools: [{ type: "function", ...weather, parameters }],
      text: { format: { type: "json_schema", name: "s", schema } },
    },
  },
  {
    path: "/v1/messages",
    dialect: dialects.messages,
    field: "output_config.format",
    form: {
      tools: [{ ...weather, input_schema: parameters }],
      output_config: { format: { type: "json_schema", schema } },
    },
  },
];

const asking = ({ path, form }: Route, content: string) => ({
  ...{ [path === "/v1/responses" ? "input" : "messages"]: [{ role: "user", content }] },
  ...{ model: "m", max_tokens: 300, cache_prompt: false, ...form },
});

async function answer({ path, dialect }: Route, body: object): Promise<[plain: FoldedChoice, streamed: FoldedChoice]> {
  const plain = await api.post(path, body);
  if (plain.status !== 200) throw new Error(await plain.text());
  const stream = await api.post(path, { ...body, stream: true });
  return [dialect.plain(await jsonOf(plain))[0]!, dialect.streamed(eventsOf(await stream.text()))[0]!];
}

/** What a complete answer is, after it was checked. */
function kindOf({ text, calls }: FoldedChoice): "calls" | "JSON" | string {
  if (calls.length === 0) return isValid(JSON.parse(text)) ? "JSON" : `not by the schema: ${text}`;
  const wrong = calls.find((call) => typeof JSON.parse(callOf.exec(call)![1]!).city !== "string");
  return text === "" && !wrong ? "calls" : `${text} ${calls}`;
}

const isCut = ({ finish }: FoldedChoice) => ["length", "incomplete", "max_tokens"].includes(String(finish));

test("an answer is calls or JSON by the schema, streamed and plain alike", async (t) => {
  for (const route of routes) {
    const kinds = new Set<string>();
    for (const [index, content] of ["What is the weather in Paris?", "Describe a cow as JSON."].entries()) {
      for (const seed of [1, 2, 3]) {
        const thinking = seed === 1 ? { chat_template_kwargs: { enable_thinking: false } } : {};
        const temperature = seed === 3 ? 1.3 : 0.5;
        const body = { ...asking(route, content), seed: seed + 10 * index, temperature, ...thinking };
        const [plain, streamed] = await answer(route, body);
        t.deepEqual(streamed, plain);
        if (!isCut(plain)) kinds.add(kindOf(plain));
      }
    }
    t.deepEqual([...kinds].sort(), ["JSON", "calls"], route.field);
  }
});

test("with tool_choice none the schema alone counts, with a forced call only the call", async (t) => {
  const quiet = { temperature: 0, chat_template_kwargs: { enable_thinking: false } };
  for (const route of routes) {
    const isMessages = route.path === "/v1/messages";
    const choice = (name: string) => ({ tool_choice: isMessages ? { type: name } : name });
    const body = { ...asking(route, "What is the weather in Paris?"), ...quiet };
    const [none] = await answer(route, { ...body, ...choice("none") });
    t.is(kindOf(none), "JSON", route.field);
    const [required, streamed] = await answer(route, {
      ...{ ...body, ...asking(route, "Describe a cow as JSON.") },
      ...choice(isMessages ? "any" : "required"),
    });
    t.is(kindOf(required), "calls", route.field);
    t.deepEqual(streamed, required);
  }
});

test("a template whose calls look like JSON: 400 that names the field, in each dialect", async (t) => {
  const template = unpackTemplates(t).find(({ name }) => name === "meta-llama-Llama-3.1-8B-Instruct")!;
  const { post } = await startTinyApi(t, { CHAT_TEMPLATE_FILE: template.path });
  for (const route of routes) {
    const refused = await post(route.path, asking(route, "Hi"));
    t.is(refused.status, 400);
    t.like((await jsonOf(refused)).error, { code: "invalid_value", param: route.field });
    t.is((await post(route.path, { ...asking(route, "Hi"), max_tokens: 2, tools: [] })).status, 200);
  }
});

const forms = [{ response_format: { type: "json_object" } }, { json_schema: schema }, routes[0]!.form];

test("without the beginning of a turn JSON is content, not reasoning", async (t) => {
  for (const form of forms) {
    for (const seed of [1, 2]) {
      const body = {
        ...asking({ ...routes[0]!, form }, "Describe a cow as JSON."),
        seed,
        add_generation_prompt: false,
      };
      const [plain, streamed] = await answer(routes[0]!, body);
      t.deepEqual(streamed, plain);
      if (isCut(plain)) continue;
      t.notThrows(() => JSON.parse(plain.text || plain.calls[0]!.slice("get_weather(".length, -1)), plain.text);
    }
  }
  const [{ text }] = await answer(routes[0]!, {
    ...asking({ ...routes[0]!, form: { json_schema: schema } }, "Describe a cow as JSON."),
    ...{ temperature: 0, add_generation_prompt: false },
  });
  t.true(isValid(JSON.parse(text)));
});

test("an answer that goes on with a text completes its JSON; a text that begins none is refused", async (t) => {
  const messages = (content: string) => ({
    messages: [
      { role: "user", content: "Describe a cow as JSON." },
      { role: "assistant", content },
    ],
  });
  const body = { model: "m", max_tokens: 200, temperature: 0, json_schema: schema, continue_final_message: true };
  for (const begun of ['{"name": "c', '{"name"', ""]) {
    const [plain, streamed] = await answer(routes[0]!, { ...body, ...messages(begun) });
    t.deepEqual(streamed, plain);
    t.true(isValid(JSON.parse(begun + plain.text)), begun + plain.text);
  }
  const refused = await api.post("/v1/chat/completions", { ...body, ...messages("A cow is") });
  t.is(refused.status, 400);
  t.like((await jsonOf(refused)).error, { code: "invalid_value", param: "json_schema" });
});
