// Long answers in the form of every chat template of llama.cpp's bundle: read in small pieces they say what they say read at once, and
// the parser's work for a piece does not grow with what came before it. Work is counted in bytes given to the parser.
import test, { type ExecutionContext } from "ava";
import { answerKinds, promptOf } from "../../src/bench/reader-bench.ts";
import type { NativeAnswerParser } from "../../src/engine/addon.ts";
import { renderChat } from "../../src/engine/chat.ts";
import type { AnswerPart, ChatMessage, ChatPrompt, RenderedPrompt } from "../../src/engine/engine.ts";
import { unpackTemplates } from "../helpers/bundled-templates.ts";
import { Random } from "../helpers/random.ts";
import { loadTinyModel } from "../helpers/tiny-engine.ts";

/** The model with any template, and the last parser that was made of its answers. */
async function setUp(t: ExecutionContext) {
  const { addon: own, native } = await loadTinyModel(t);
  let parser: NativeAnswerParser | undefined;
  const AnswerParser = new Proxy(own.AnswerParser, {
    construct: (target, args) => {
      parser = Reflect.construct(target, args) as NativeAnswerParser;
      return parser;
    },
  });
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
    const [before, all] = [asked, answered].map(({ text }) => Buffer.from(text).toString()) as [string, string];
    if (!all.startsWith(before)) return undefined;
    const written = all.slice(before.length);
    return {
      rendered: asked,
      written: message.toolCalls ? withoutEnd(asked, written) : written.slice(0, written.lastIndexOf(".")),
    };
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

/** Bytes given to the parser for each byte of an answer. */
const mostWork = 128;

test("in every template's form, a long answer says in pieces what it says at once, and the work grows with its length alone", async (t) => {
  const { native, render, bytesRead } = await setUp(t);
  const random = new Random(7);
  const seen = { answers: 0, reasoning: 0, calls: 0 };
  for (const template of unpackTemplates(t)) {
    native.loadChatTemplates(template.source);
    for (const [name, message] of Object.entries(messages)) {
      const place = `${template.name}: ${name}`;
      const { rendered, written } = (await writtenBy(render, message)) ?? {};
      if (!rendered || !written) continue;
      const atOnce = read(rendered, [written]).said;
      t.deepEqual(read(rendered, cut(written, random)).said, atOnce, place);
      t.true(bytesRead() < mostWork * Buffer.byteLength(written), `${place}: ${bytesRead()} of ${written.length}`);
      seen.answers += 1;
      if (atOnce.reasoning.length > long.length / 2) seen.reasoning += 1;
      if (atOnce.calls.length > long.length / 2) seen.calls += 1;
    }
  }
  t.log(seen);
  t.true(seen.answers > 200 && seen.reasoning > 20 && seen.calls > 60);
});

test("a token of a 4,000-token answer takes as much of the parser as one of 500, and none waits for others", async (t) => {
  const { native, render, bytesRead } = await setUp(t);
  native.loadChatTemplates("");
  for (const [name, kind] of Object.entries(answerKinds)) {
    const rendered = await render(promptOf(kind));
    const work = [500, 4000].map((tokens) => {
      const pieces = [kind.begin, ...Array.from({ length: tokens }, (_, index) => kind.piece(index))];
      const { longestWait } = read(rendered, pieces);
      t.true(longestWait < 64, `${name}: ${longestWait} characters came late`);
      return bytesRead() / tokens;
    });
    t.log(name, work.map(Math.round));
    t.true(work[1]! < 1.25 * work[0]!, name);
  }
});
