// Answers that are either calls of tools or JSON by a schema. Most of llama.cpp's formats know one or the other: their two grammars
// are made one here, and a reader tells by the first characters which of the two an answer is.
import type { NativeRenderedChat } from "./addon.ts";
import { callFirst, eitherOf, oneCall, onlyCalls } from "./call-grammar.ts";
import type { AnswerPart, AnswerReader, ChatPrompt } from "./engine.ts";

/** How a prompt is rendered, with its grammars made strict. */
export type Render = (prompt: ChatPrompt) => Promise<NativeRenderedChat>;

export type EitherForm = {
  /** The prompt, the grammar of both, and the parser of calls. */
  readonly chat: NativeRenderedChat;
  /** What is neither call nor reasoning is content by this one's parser; undefined: by that of `chat` too. */
  readonly text: NativeRenderedChat | undefined;
  /** What calls begin with, some of it at least. */
  readonly marks: readonly string[];
};

/** @returns undefined when the model's format cannot tell calls from JSON, or lets text come with calls */
export async function renderEither(prompt: ChatPrompt, render: Render): Promise<EitherForm | undefined> {
  const json = await render(prompt);
  const always = { lazy: false, triggers: [] };
  // A format that knows both by itself.
  if (/^root ::= .*tool-call.*response-format/m.test(json.grammar)) {
    return { chat: { ...json, ...always }, text: undefined, marks: [] };
  }
  const { jsonSchema, ...withTools } = prompt;
  const { tools: _, ...plain } = withTools;
  const calls = await render({ ...withTools, toolChoice: "required" });
  const open = await render({ ...withTools, toolChoice: "auto" });
  const text = await render(plain);
  // Some formats have a place for JSON only where there are no tools.
  const form = await render({ ...plain, ...(jsonSchema && { jsonSchema }) });
  const isSameTurn = [calls, open, text, form].every(
    ({ generationPrompt }) => generationPrompt === json.generationPrompt,
  );
  const first = callFirst(calls.grammar, calls.thinkingStartTag);
  if (!isSameTurn || !onlyCalls(first, calls.thinkingStartTag)) return undefined;
  const marks = marksOf(open, form);
  if (!marks) return undefined;
  const grammar = eitherOf(prompt.parallelToolCalls === false ? oneCall(first) : first, form.grammar);
  const { format } = open;
  const preservedTokens = Int32Array.from(new Set([...open.preservedTokens, ...form.preservedTokens]));
  const additionalStops = [...new Set([...open.additionalStops, ...form.additionalStops])];
  const chat = { ...json, ...always, grammar, format, preservedTokens, additionalStops };
  return { chat, text: marks.length > 0 ? text : undefined, marks };
}

/** llama.cpp's COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN and above. */
const firstPattern = 2;

/** @returns none where the format itself has a place for each; undefined where what begins a call may begin JSON too */
function marksOf({ triggers }: NativeRenderedChat, { grammar }: NativeRenderedChat): string[] | undefined {
  if (triggers.length === 0) return undefined;
  if (triggers.some(({ type }) => type >= firstPattern)) {
    return /^root ::= .*response-format/m.test(grammar) ? [] : undefined;
  }
  const marks = triggers.map(({ value }) => value.trim());
  return marks.some((mark) => mark === "" || mayBeginJson.test(mark)) ? undefined : marks;
}

/** An object, a string, a number, a literal, or an array that goes on like one. */
const mayBeginJson = /^(?:[{"\d-]|(?:true|false|null)\b|\[\s*(?:$|[\]{["\d-]|(?:true|false|null)\b))/;

const beginsJson = /^[{["\d\-tfn]/;

type Readers = {
  /** Reads calls; all else is content to it, also where that only looks like one. */
  readonly calls: AnswerReader;
  /** Reads the same without calls. */
  readonly text: AnswerReader;
  /** Splits reasoning off, so that its content is what follows; `text` itself where it does. */
  readonly watch: AnswerReader;
  readonly marks: readonly string[];
};

/** Hands out reasoning as it comes; what follows when its first characters have shown what it is: the grammar allows nothing else. */
export class EitherReader implements AnswerReader {
  readonly #readers: Readers;
  #chosen: AnswerReader | undefined;
  /** Of what follows the reasoning. */
  #beginning = "";
  #callParts: AnswerPart[] = [];
  #textParts: AnswerPart[] = [];

  constructor(readers: Readers) {
    this.#readers = readers;
  }

  push(text: string): AnswerPart[] {
    return this.#chosen ? this.#told(this.#chosen.push(text)) : this.#read((reader) => reader.push(text));
  }

  end(): AnswerPart[] {
    if (this.#chosen) return this.#told(this.#chosen.end());
    const parts = this.#read((reader) => reader.end());
    if (this.#chosen || !beginsJson.test(this.#beginning.trimStart())) return parts;
    return [...parts, ...this.#textParts];
  }

  #read(take: (reader: AnswerReader) => AnswerPart[]): AnswerPart[] {
    const { calls, text, watch, marks } = this.#readers;
    const said = take(text);
    const watched = watch === text ? said : take(watch);
    this.#callParts.push(...take(calls).filter(({ kind }) => kind !== "reasoning"));
    this.#textParts.push(...said.filter(({ kind }) => kind !== "reasoning"));
    const reasoning = said.filter(({ kind }) => kind === "reasoning");
    for (const part of watched) if (part.kind === "content") this.#beginning += part.text;
    const beginning = this.#beginning.trimStart();
    if (beginning === "" || marks.some((mark) => mark !== beginning && mark.startsWith(beginning))) return reasoning;
    const isCall = !beginsJson.test(beginning) || marks.some((mark) => beginning.startsWith(mark));
    this.#chosen = isCall ? calls : text;
    return this.#told([...reasoning, ...(isCall ? this.#callParts : this.#textParts)]);
  }

  /** The beginning of a call that was cut is no content. */
  #told(parts: AnswerPart[]): AnswerPart[] {
    const { calls, text, watch } = this.#readers;
    return this.#chosen === calls && watch === text ? parts.filter(({ kind }) => kind !== "content") : parts;
  }
}
