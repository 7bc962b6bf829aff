// The reader that takes answers apart, over a parser that the test plays.
import test from "ava";
import type { NativeAnswerDelta } from "../../src/engine/addon.ts";
import { ParsedReader } from "../../src/engine/parsed-reader.ts";

const nothing: NativeAnswerDelta = { reasoning: "", content: "", toolCalls: [] };

/** Hands out what is listed, one entry for each push; an error is thrown. */
function parserOf(...answers: (Partial<NativeAnswerDelta> | Error)[]) {
  return {
    bytesRead: 0,
    push: () => {
      const answer = answers.shift() ?? nothing;
      if (answer instanceof Error) throw answer;
      return { ...nothing, ...answer };
    },
  };
}

const unreadable = new Error("The model produced output that does not match");

test("what the parser cannot read is content, with what it held back, to the end", (t) => {
  const reader = new ParsedReader(parserOf({ reasoning: "Hm" }, {}, unreadable), true);
  t.deepEqual(reader.push("<think>Hm"), [{ kind: "reasoning", text: "Hm" }]);
  t.deepEqual(reader.push("<|"), []);
  t.deepEqual(reader.push("odd|>"), [{ kind: "content", text: "<|odd|>" }]);
  t.deepEqual(reader.push(" more"), [{ kind: "content", text: " more" }]);
  t.deepEqual(reader.end(), []);
});

test("so is the end of an answer, but not that of a call that was cut", (t) => {
  const cut = new ParsedReader(parserOf({}, unreadable), true);
  t.deepEqual(cut.push("<|start"), []);
  t.deepEqual(cut.end(), [{ kind: "content", text: "<|start" }]);
  const call = { index: 0, name: "f", arguments: "{" };
  const called = new ParsedReader(parserOf({ toolCalls: [call] }, {}, unreadable), true);
  t.deepEqual(called.push("<call>f{"), [{ kind: "tool_call", ...call }]);
  t.deepEqual(called.push('"a'), []);
  t.deepEqual(called.end(), []);
});

test("without calls the parser is done when the content has begun", (t) => {
  const reader = new ParsedReader(parserOf({ content: "a" }, unreadable), false);
  t.deepEqual(reader.push("a"), [{ kind: "content", text: "a" }]);
  t.deepEqual(reader.push("b"), [{ kind: "content", text: "b" }]);
  t.deepEqual(reader.end(), []);
});
