// All chat templates of llama.cpp's bundle, through the real addon and the route that shows prompts: each conversation is rendered,
// or refused as the caller's mistake with the template's own words. What comes of it is printed as a table.
import test, { type ExecutionContext } from "ava";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import type { NativeModel } from "../../src/engine/addon.ts";
import { renderChat } from "../../src/engine/chat.ts";
import type { ChatPrompt, Engine, RenderedPrompt } from "../../src/engine/engine.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { type BundledTemplate, unpackTemplates } from "../helpers/bundled-templates.ts";
import { greedy } from "../helpers/requests.ts";
import { jsonOf, startServer, withKey } from "../helpers/server.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";
import { loadTinyEngine, loadTinyModel, tinyChatPath } from "../helpers/tiny-engine.ts";

const say = (role: string, content: string) => ({ role, content });
const question = "What is the weather in Lima?";
const user = say("user", question);
const system = say("system", "You are brief.");

const tool = (name: string, parameter: string) => ({
  type: "function",
  function: {
    name,
    description: `Tells the ${name}.`,
    parameters: { type: "object", properties: { [parameter]: { type: "string" } }, required: [parameter] },
  },
});
const tools = [tool("get_weather", "city"), tool("get_time", "zone")];

const call = (id: string, name: string, args: object) => ({
  id,
  type: "function",
  function: { name, arguments: JSON.stringify(args) },
});
/** Nine letters and digits: some templates take no other ids. */
const called = { role: "assistant", content: null, tool_calls: [call("abcdefgh1", "get_weather", { city: "Lima" })] };
const result = { role: "tool", tool_call_id: "abcdefgh1", content: '{"sky":"clear"}' };
const calledTwice = {
  role: "assistant",
  content: "Let me look.",
  tool_calls: [
    call("abcdefgh2", "get_weather", { city: "Quito" }),
    call("abcdefgh3", "get_time", { zone: "America/Lima" }),
  ],
};
const results = [
  { role: "tool", tool_call_id: "abcdefgh2", content: "rain" },
  { role: "tool", tool_call_id: "abcdefgh3", content: "noon" },
];
const thought = { role: "assistant", content: "Hello.", reasoning_content: "They greet me." };
const schema = { type: "object", properties: { sky: { type: "string" } }, required: ["sky"] };

/** What the columns of the table are. */
const conversations: Readonly<Record<string, object>> = {
  user: { messages: [user] },
  system: { messages: [system, user] },
  turns: { messages: [system, say("user", "Hi"), say("assistant", "Hello."), user] },
  "system later": { messages: [say("user", "Hi"), say("assistant", "Hello."), system, user] },
  tools: { messages: [system, user], tools },
  required: { messages: [user], tools, tool_choice: "required" },
  result: { messages: [system, user, called, result], tools },
  "many results": {
    messages: [user, called, result, say("assistant", "Clear."), user, calledTwice, ...results],
    tools,
  },
  "after tools": { messages: [user, called, result, say("assistant", "Clear."), user] },
  reasoning: { messages: [say("user", "Hi"), thought, user] },
  "no thinking": { messages: [user], chat_template_kwargs: { enable_thinking: false } },
  effort: { messages: [system, user], reasoning_effort: "high" },
  schema: { messages: [user], response_format: { type: "json_schema", json_schema: { name: "s", schema } } },
  continued: { messages: [user, say("assistant", "The sky over")], continue_final_message: true },
};

/** The real engine with the template of the moment. */
async function startWithTemplates(t: ExecutionContext) {
  const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const model = await llama.loadModel({ modelPath: tinyChatPath });
  const addon = loadAddon();
  const native: NativeModel = new addon.Model((model as unknown as { _model: unknown })._model);
  const { engine } = await loadTinyEngine();
  let rendered: RenderedPrompt | undefined;
  let source = "";
  const own: Partial<Engine> = {
    renderChat: async (prompt: ChatPrompt) => {
      rendered = undefined;
      rendered = await renderChat(addon, native, prompt);
      return rendered;
    },
  };
  const wrapped = new Proxy(engine, {
    get: (target, name) => {
      if (name === "model") return { ...target.model, chatTemplate: { source, caps: {} } };
      if (name in own) return own[name as keyof Engine];
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const { url, close } = await startServer({ engine: () => wrapped });
  t.teardown(async () => {
    await close();
    await engine.dispose();
    await model.dispose();
    await llama.dispose();
  });
  const use = (template: BundledTemplate) => {
    source = template.source;
    native.loadChatTemplates(source);
  };
  const post = (body: object) =>
    fetch(`${url}/apply-template`, { method: "POST", headers: withKey, body: JSON.stringify(body) });
  return { engine, use, post, rendered: () => rendered! };
}

/** What the model might write, in its template's form or not. */
const answers = ["Hello.", '<think>a</think>{"sky":"clear"}', '<tool_call>{"name":"get_weather","arg'];

/** The grammar compiles and answers can be read, so that a request with this prompt would be served. */
async function serve(t: ExecutionContext, engine: Engine, { answer }: RenderedPrompt, place: string): Promise<void> {
  if (answer.constrained) await t.notThrowsAsync(engine.prepareSampler(greedy, { answer }), place);
  for (const text of answers) {
    const reader = answer.createReader();
    const pieces = text.match(/.{1,7}/gs) ?? [];
    const parts = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
    const read = parts.map((part) => ("text" in part ? part.text : part.arguments)).join("");
    // Nothing is said twice, and text without any marks is never lost.
    const times = read.split(/Hello|clear|get_weather/).length - 1;
    t.true(text === "Hello." ? times === 1 : times <= 1, `${place}: ${JSON.stringify(parts)}`);
  }
}

const refused = "The chat template rejected the messages: ";

test("all bundled templates render each conversation or refuse it in their own words", async (t) => {
  const { engine, use, post, rendered } = await startWithTemplates(t);
  const names = Object.keys(conversations);
  t.log(names.map((name, column) => `${column} ${name}`).join(", "));
  t.log(". rendered, o without a word of the tools, ! refused");
  const templates = unpackTemplates(t);
  t.true(templates.length > 50);
  for (const template of templates) {
    use(template);
    let row = "";
    const refusals = new Set<string>();
    for (const [name, body] of Object.entries(conversations)) {
      const place = `${template.name}: ${name}`;
      const answer = await post(body);
      const { prompt, error } = await jsonOf(answer);
      if (answer.status === 200) {
        t.true(prompt.includes(question), place);
        row += "tools" in body && !prompt.includes("get_weather") ? "o" : ".";
        await serve(t, engine, rendered(), place);
      } else {
        t.is(answer.status, 400, `${place} ${JSON.stringify(error)}`);
        t.is(error.code, "chat_template_error", `${place} ${error.message}`);
        t.true(error.message.startsWith(refused) && error.message.length > refused.length, place);
        row += "!";
        refusals.add(error.message.slice(refused.length));
      }
    }
    t.log(`${row} ${template.name}${[...refusals].map((message) => `\n    ${message}`).join("")}`);
  }
});

/** Requests without tools or schema, whose format is remembered: differing in messages, in what follows these, and in arguments. */
const plainRequests = [
  { messages: [user] },
  { messages: [system, user] },
  { messages: [say("user", "Hi"), thought, user] },
  { messages: [user, called, result] },
  { messages: [user, say("assistant", "The sky")] },
  { messages: [user], add_generation_prompt: false },
  { messages: [system, user], enable_thinking: false },
  { messages: [user], chat_template_kwargs: { reasoning_effort: "high" } },
].map((request) => JSON.stringify(request));

test("what is remembered of a template's format is what the template gives anew", async (t) => {
  const { addon, native: model } = await loadTinyModel(t);
  const { native: fresh } = await loadTinyModel(t);
  const tell = async (model: NativeModel, request: string) => {
    try {
      const { format, prompt, ...chat } = await model.renderChat(request);
      const options = { reasoning: true, toolCalls: false, continues: false };
      const read = answers.map((text) =>
        new addon.AnswerParser(format, chat.generationPrompt, options).push(text, false),
      );
      return { ...chat, prompt: Buffer.from(prompt).toString(), read };
    } catch (error) {
      return (error as Error).message;
    }
  };
  for (const { name, source } of unpackTemplates(t)) {
    model.loadChatTemplates(source);
    for (const request of plainRequests) await tell(model, request);
    for (const request of plainRequests) {
      fresh.loadChatTemplates(source);
      t.deepEqual(await tell(model, request), await tell(fresh, request), `${name}: ${request}`);
    }
  }
});

const templateFile = (t: ExecutionContext, name: string) =>
  unpackTemplates(t).find((template) => template.name === name)!.path;

test("CHAT_TEMPLATE_FILE: what the template refuses is the caller's 400", async (t) => {
  const { post } = await startTinyApi(t, { CHAT_TEMPLATE_FILE: templateFile(t, "meta-llama-Llama-3.1-8B-Instruct") });
  t.is((await post("/v1/chat/completions", { ...conversations.system, max_tokens: 5 })).status, 200);
  const answer = await post("/v1/chat/completions", conversations["many results"]!);
  t.is(answer.status, 400);
  const { code, param, message } = (await jsonOf(answer)).error;
  t.deepEqual([code, param], ["chat_template_error", "messages"]);
  t.is(message, `${refused}This model only supports single tool-calls at once!`);
});

test("an answer outside its template's format is content, not a failure, and others are served on", async (t) => {
  const { client } = await startTinyApi(t, { CHAT_TEMPLATE_FILE: templateFile(t, "openai-gpt-oss-120b") });
  const body = {
    model: "m",
    messages: [{ role: "user" as const, content: question }],
    seed: 1,
    max_tokens: 30,
    cache_prompt: false,
  };
  const { content } = (await client.chat.completions.create(body)).choices[0]!.message;
  t.truthy(content);
  const streamed = await client.chat.completions.stream(body).finalContent();
  t.is(streamed, content);
});
