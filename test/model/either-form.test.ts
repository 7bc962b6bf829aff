// Tools together with a JSON form, on all chat templates of llama.cpp's bundle: what a model writes in its own form is read as a call
// or as JSON, or the combination is refused; and JSON in answers whose beginning the prompt lacks or already has.
import test, { type ExecutionContext } from "ava";
import { NativeFormat, renderChat } from "../../src/engine/chat.ts";
import { prepareSampler } from "../../src/engine/constraint.ts";
import type { AnswerFormat, AnswerPart, ChatMessage, ChatPrompt, RenderedPrompt } from "../../src/engine/engine.ts";
import { Failure } from "../../src/errors.ts";
import { type BundledTemplate, unpackTemplates } from "../helpers/bundled-templates.ts";
import { greedy } from "../helpers/requests.ts";
import { loadTinyModel } from "../helpers/tiny-engine.ts";

async function setUp(t: ExecutionContext) {
  const { addon, native } = await loadTinyModel(t);
  const render = (prompt: ChatPrompt) => renderChat(addon, native, prompt);
  const prepare = (answer: AnswerFormat) => prepareSampler(addon, native, greedy, { answer });
  return { native, render, prepare };
}

const user: ChatMessage = { role: "user", content: "What is the weather in Lima?" };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "get_weather", description: "Tells the weather.", parameters }];
const jsonSchema = { type: "object", properties: { sky: { type: "string" } }, required: ["sky"] };
const both: ChatPrompt = { messages: [user], tools, jsonSchema, schemaParam: "text.format" };
const called: ChatMessage = {
  ...{ role: "assistant", content: "" },
  toolCalls: [{ id: "abcdefgh1", name: "get_weather", arguments: '{"city":"Lima"}' }],
};

type Said = Readonly<Record<AnswerPart["kind"], string>>;

function read({ createReader }: AnswerFormat, text: string): Said {
  const reader = createReader();
  const said = { content: "", reasoning: "", tool_call: "" };
  const pieces = text.match(/.{1,5}/gs) ?? [];
  for (const part of [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()]) {
    if (part.kind === "tool_call") said.tool_call += (part.name ?? "") + part.arguments.replaceAll(/\s/g, "");
    else said[part.kind] += part.text;
  }
  return said;
}

const textOf = ({ text }: RenderedPrompt): string => Buffer.from(text).toString();

/** How the template writes the call, up to where it is complete and without the marks of a turn's end; undefined when it cannot be told from the rest. */
async function writtenCall({ render }: Awaited<ReturnType<typeof setUp>>, open: AnswerFormat, asked: string) {
  const told = await render({ messages: [user, called], tools, addGenerationPrompt: false });
  const text = textOf(told);
  if (!text.startsWith(asked)) return undefined;
  const written = text.slice(asked.length);
  for (let end = 1; end <= written.length; end++) {
    if (read(open, written.slice(0, end)).tool_call === 'get_weather{"city":"Lima"}') return written.slice(0, end);
  }
  return undefined;
}

/** One of the two grammars alone, which must take what the prompt has of the answer already. */
function half({ chat, createReader }: NativeFormat, root: "calls" | "form"): NativeFormat {
  const grammar = chat.grammar.replace("root ::= calls-root | form-root", `root ::= ${root}-root`);
  return new NativeFormat({ ...chat, grammar }, both, createReader);
}

/** What ends the reasoning that the prompt has begun. */
function endOfThought({ chat: { generationPrompt, thinkingStartTag, thinkingEndTags } }: NativeFormat): string {
  const begun = thinkingStartTag !== "" && generationPrompt.includes(thinkingStartTag);
  return begun && !thinkingEndTags.some((tag) => generationPrompt.includes(tag)) ? `Hm${thinkingEndTags[0]}` : "";
}

const json = '{"sky":"a <tool_call>{}</tool_call> [TOOL_CALLS] b"}';

/** Formats with a place of its own for what is told. */
const places: Readonly<Record<string, readonly [before: string, after: string]>> = {
  Cohere2MoE: ["<|START_TEXT|>", "<|END_TEXT|>"],
  "openai-gpt-oss-120b": ["<|channel|>final<|message|>", ""],
};

/** Their calls look like JSON, or cannot be kept apart from text. */
const notCombined = [
  ...["HuggingFaceTB-SmolLM3-3B", "Kimi-K3", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "google-gemma-2-2b-it"],
  ...["ibm-granite-granite-3.3-2B-Instruct", "inclusionai-ling-3.0-flash", "llama-cpp-rwkv-world"],
  ...["meetkai-functionary-medium-v3.2", "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct"],
  ...["meta-llama-Llama-3.3-70B-Instruct", "microsoft-Phi-3.5-mini-instruct", "muse-glimmer"],
];

async function checkBoth(
  t: ExecutionContext,
  model: Awaited<ReturnType<typeof setUp>>,
  { name }: BundledTemplate,
): Promise<"refused" | "read" | "json alone"> {
  const { render, prepare } = model;
  const quiet = { ...both, enableThinking: false };
  let rendered: Awaited<ReturnType<typeof render>>;
  try {
    rendered = await render(quiet);
  } catch (error) {
    t.true(error instanceof Failure);
    t.like(error, { kind: "invalid_value", param: "text.format" }, name);
    return "refused";
  }
  const { answer } = rendered;
  t.true(answer instanceof NativeFormat && answer.constrained);
  await t.notThrowsAsync(prepare(answer), name);
  for (const root of ["calls", "form"] as const)
    await t.notThrowsAsync(prepare(half(answer as NativeFormat, root)), name);
  const [before, after] = places[name] ?? ["", ""];
  const written = `${endOfThought(answer as NativeFormat)}${before}${json}${after}`;
  t.like(read(answer, written), { content: json, tool_call: "" }, name);
  const { grammar, generationPrompt, thinkingStartTag, thinkingEndTags } = (answer as NativeFormat).chat;
  const isOver = thinkingEndTags.some((tag) => generationPrompt.includes(tag));
  if (/^form-root ::= .*until-/m.test(grammar) && before === "" && written === json && !isOver) {
    const thought = `${thinkingStartTag}Hm${thinkingEndTags[0]}`;
    t.like(read(answer, thought + json), { reasoning: "Hm", content: json, tool_call: "" }, name);
  }
  const { jsonSchema: _, ...open } = quiet;
  const call = await writtenCall(model, (await render(open)).answer, textOf(rendered));
  if (call === undefined) return "json alone";
  const said = read(answer, call);
  t.is(said.tool_call, 'get_weather{"city":"Lima"}', name);
  t.is(said.content.trim(), "", name);
  return "read";
}

test("tools with a JSON form, in each template's form: calls are calls, JSON is content, or 400", async (t) => {
  const model = await setUp(t);
  const outcomes: Record<string, string[]> = { refused: [], read: [], "json alone": [] };
  for (const template of unpackTemplates(t)) {
    model.native.loadChatTemplates(template.source);
    outcomes[await checkBoth(t, model, template)]!.push(template.name);
  }
  for (const [outcome, names] of Object.entries(outcomes)) t.log(`${outcome}: ${names.join(", ")}`);
  t.deepEqual(outcomes.refused!.sort(), [...notCombined].sort());
  t.true(outcomes.read!.length > 30);
});

/** Text without any marks is reasoning to them. */
const needTurn = ["Kimi-K3", "inclusionai-ling-3.0-flash"];

test("JSON without the beginning of a turn, or going on with a text, is content in each template's form", async (t) => {
  const { native, render, prepare } = await setUp(t);
  const begun: ChatMessage = { role: "assistant", content: '{"sky":' };
  const refused: string[] = [];
  for (const { name, source } of unpackTemplates(t)) {
    native.loadChatTemplates(source);
    const goesOn = await render({ messages: [user, begun], jsonSchema, continueFinalMessage: true });
    await t.notThrowsAsync(prepare(goesOn.answer), name);
    t.is(read(goesOn.answer, '"x"}').content, '"x"}', name);
    const off = await render({ messages: [user, { ...begun, content: "Hi" }], jsonSchema, continueFinalMessage: true });
    await t.throwsAsync(prepare(off.answer), { message: /'response_format'.*does not begin such JSON/ }, name);
    for (const fields of [{ addGenerationPrompt: false }, { continueFinalMessage: true } as const]) {
      const messages = "continueFinalMessage" in fields ? [user, { ...begun, content: "" }] : [user];
      try {
        const { answer } = await render({ messages, jsonSchema, ...fields });
        await t.notThrowsAsync(prepare(answer), name);
        t.is(read(answer, json).content, json, `${name} ${JSON.stringify(fields)}`);
      } catch (error) {
        t.true(error instanceof Failure && error.kind === "invalid_value", `${name}: ${error}`);
        refused.push(name);
      }
    }
  }
  t.deepEqual([...new Set(refused)].sort(), needTurn);
});
