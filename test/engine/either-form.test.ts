// Answers that are calls or JSON: which template's format can tell them apart, and how a reader does it.
import test from "ava";
import type { NativeAnswerFormat, NativeRenderedChat } from "../../src/engine/addon.ts";
import { EitherReader, renderEither } from "../../src/engine/either-form.ts";
import type { AnswerPart, AnswerReader, ChatPrompt } from "../../src/engine/engine.ts";

const content = (text: string): AnswerPart => ({ kind: "content", text });
const call: AnswerPart = { kind: "tool_call", index: 0, name: "f", arguments: "{}" };

/** Reasoning is what stands before a `|`. */
function textReader(): AnswerReader {
  let thinking = true;
  return {
    push: (text) => {
      if (!thinking) return [content(text)];
      const [thought = "", rest] = text.split("|");
      thinking = rest === undefined;
      return [...(thought ? [{ kind: "reasoning", text: thought } as const] : []), ...(rest ? [content(rest)] : [])];
    },
    end: () => [],
  };
}

/** Takes everything from a mark on for a call, wherever it stands, and what is none for content at the end. */
function callReader(): AnswerReader {
  let text = "";
  return {
    push: (piece) => {
      text += piece;
      return text.includes("<call>") ? [call] : [];
    },
    end: () => (text.includes("<call>") ? [] : [content(text)]),
  };
}

function read(pieces: readonly string[], marks = ["<call>"]): AnswerPart[][] {
  const text = textReader();
  const reader = new EitherReader({ calls: callReader(), text, watch: text, marks });
  return [...pieces.map((piece) => reader.push(piece)), reader.end()];
}

test("reasoning goes out at once, JSON as soon as it is none of the marks", (t) => {
  const reasoning: AnswerPart = { kind: "reasoning", text: "Hm" };
  t.deepEqual(read(["Hm", "|", " ", '{"a":', "1}"]), [
    [reasoning],
    [],
    [],
    [content(" "), content('{"a":')],
    [content("1}")],
    [],
  ]);
});

test("a mark is a call only where the answer begins", (t) => {
  t.deepEqual(read(["|", "<ca", "ll>", "x"]), [[], [], [call], [call], []]);
  t.deepEqual(read(["|", '"a <call>', '"']), [[], [content('"a <call>')], [content('"')], []]);
  t.deepEqual(read(["|", "<section>", "<call>"]).flat(), [call], "no JSON begins so");
});

test("what was cut before it showed what it is, is nothing, unless JSON begins so", (t) => {
  t.deepEqual(read(["|", "<ca"]).flat(), []);
  t.deepEqual(read(["|", "<sec"]).flat(), []);
  t.deepEqual(read(["|"]).flat(), []);
  t.deepEqual(read(["|", "["], ["[CALLS]"]).flat(), [content("[")]);
});

test("where reasoning stays in the content, another reader shows where it ends", (t) => {
  const whole = (): AnswerReader => ({ push: (text) => [content(text)], end: () => [] });
  const eitherOf = () =>
    new EitherReader({ calls: callReader(), text: whole(), watch: textReader(), marks: ["<call>"] });
  const [json, calls] = [eitherOf(), eitherOf()];
  t.deepEqual([json.push("Hm"), json.push("|{"), json.push("}")], [[], [content("Hm"), content("|{")], [content("}")]]);
  t.deepEqual([calls.push("Hm|"), calls.push("<call>")], [[], [call]]);
});

const prompt: ChatPrompt = { messages: [], tools: [{ name: "f", parameters: {} }], jsonSchema: { type: "object" } };

/** Formats that only have to be told apart. */
const formatOf = (name: string) => ({ name }) as unknown as NativeAnswerFormat;

const plain: NativeRenderedChat = {
  ...{ prompt: Buffer.from("p"), tokens: new Int32Array(), preservedTokens: new Int32Array(), supportsThinking: false },
  ...{ thinkingStartTag: "", thinkingEndTags: [], format: formatOf(""), generationPrompt: "g", additionalStops: [] },
  ...{ grammar: "", lazy: false, triggers: [] },
};
const word = (value: string) => [{ type: 1, value, token: -1 }];

type Rendered = Partial<Record<"json" | "form" | "calls" | "open" | "text", Partial<NativeRenderedChat>>>;

function render(given: Rendered) {
  const known: Rendered = {
    json: { prompt: Buffer.from("both"), format: formatOf("json") },
    form: { grammar: 'root ::= "g" response-format' },
    calls: { grammar: 'root ::= "g" until-1? tool-call' },
    open: { triggers: word("<call>"), format: formatOf("calls"), preservedTokens: Int32Array.of(7) },
    text: { format: formatOf("text") },
    ...given,
  };
  return renderEither(prompt, async ({ tools, jsonSchema, toolChoice }) => {
    const kind = jsonSchema
      ? tools
        ? "json"
        : "form"
      : !tools
        ? "text"
        : toolChoice === "required"
          ? "calls"
          : "open";
    return { ...plain, ...known[kind] };
  });
}

test("both grammars are one, and calls have their own parser", async (t) => {
  const either = await render({});
  t.like(either, { marks: ["<call>"], text: { format: formatOf("text") } });
  t.like(either!.chat, { prompt: Buffer.from("both"), format: formatOf("calls"), lazy: false, triggers: [] });
  t.is(
    either!.chat.grammar,
    'root ::= calls-root | form-root\ncalls-root ::= "g" tool-call\nform-root ::= "g" form-response-format',
  );
  t.deepEqual(either!.chat.preservedTokens, Int32Array.of(7));
});

test("a format that knows both is left as it is", async (t) => {
  const grammar = 'root ::= "g" (tool-call | "text" response-format)';
  t.like(await render({ json: { grammar } }), { marks: [], text: undefined, chat: { grammar, lazy: false } });
});

test("a format that cannot tell them apart is refused", async (t) => {
  const refused: Rendered[] = [
    { calls: { grammar: "" } },
    { calls: { grammar: 'root ::= "g" tool-call until-2?' } },
    { open: { triggers: [] } },
    { text: { generationPrompt: "other" } },
    { form: { grammar: "root ::= own-root" }, open: { triggers: [{ type: 2, value: "^x", token: -1 }] } },
    ...['{"name"', '"f"', "[", '[{"name"', "[1", "[ true", "null", " "].map((mark) => ({
      open: { triggers: word(mark) },
    })),
  ];
  for (const given of refused) t.is(await render(given), undefined, JSON.stringify(given));
  for (const mark of ["[TOOL_CALLS]", "functools", "<|tool|>", "nullable"]) {
    t.deepEqual((await render({ open: { triggers: word(mark) } }))?.marks, [mark]);
  }
  const patterns = { open: { triggers: [{ type: 2, value: "^x", token: -1 }] } };
  t.like(await render(patterns), { marks: [], text: undefined });
});
