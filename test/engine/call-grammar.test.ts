// Grammars of calls as llama.cpp writes them for one template or another: no text before a forced call, one call, calls or JSON.
import test from "ava";
import { callFirst, eitherOf, oneCall, onlyCalls } from "../../src/engine/call-grammar.ts";

const think = "<think>";
const reasoning = String.raw`("<think>" "\n"? until-13 "\n"? "</think>" "\n"?)?`;

/** Root rules of required calls: what becomes of each, and whether it is calls alone then. */
const roots: readonly [string, root: string, tag: string, first: string, alone: boolean][] = [
  ["Hermes", `"a" space ${reasoning} until-183? tool-calls`, think, `"a" space ${reasoning} tool-calls`, true],
  ["without thinking", "space until-129? tool-call", "", "space tool-call", true],
  [
    "a text that must not be left out",
    `"a" ${reasoning} until-137 tool-calls`,
    think,
    `"a" ${reasoning} tool-calls`,
    true,
  ],
  ["space before the call", "until-69 space tool-call-root", "", "space tool-call-root", true],
  [
    "a text between marks",
    'space ("<T>" until-4 "</T>")? ("<R>" until-201 "</R>")? tool-call',
    "<T>",
    'space ("<T>" until-4 "</T>")? tool-call',
    true,
  ],
  [
    "reasoning right before the call",
    '("<T>" until-4 "</T>")? tool-call',
    "<T>",
    '("<T>" until-4 "</T>")? tool-call',
    true,
  ],
  [
    "a call within the reasoning",
    '("<think>" until-65 space tool-call | ("<think>" until-57 "</think>")? until-72 space tool-call)',
    think,
    '("<think>" space tool-call | ("<think>" until-57 "</think>")? space tool-call)',
    true,
  ],
  ["messages between thoughts", "(start any)* start tool-call", think, "(start analysis)* start tool-call", true],
  [
    "a text behind the call",
    '("<think>"? until-6 "</think>"?)? until-15? x-tool-call until-20?',
    think,
    '("<think>"? until-6 "</think>"?)? x-tool-call until-20?',
    false,
  ],
  [
    "a text that cannot be told",
    '"<r>"? until-14 "</r>"? x-tool-call',
    "",
    '"<r>"? until-14 "</r>"? x-tool-call',
    false,
  ],
  ["no calls", "space until-14", "", "space until-14", false],
];

test("a forced call comes first, after the reasoning at most", (t) => {
  for (const [name, root, tag, first] of roots) {
    const rest = 'until-13 ::= [^x]*\ntool-call ::= "until-5? tool-call"';
    t.is(callFirst(`root ::= ${root}\n${rest}`, tag), `root ::= ${first}\n${rest}`, name);
  }
});

test("whether a grammar is of calls alone", (t) => {
  for (const [name, , tag, first, alone] of roots)
    t.is(onlyCalls(`root ::= ${first}\nx ::= until-3`, tag), alone, name);
  t.false(onlyCalls("", ""));
});

test("one call instead of any number", (t) => {
  t.is(oneCall("tool-calls ::= (tool-call space)+\nx ::= y+"), "tool-calls ::= (tool-call space)\nx ::= y+");
});

test("two grammars as one keep their rules apart", (t) => {
  const calls = 'root ::= "root" char\nchar ::= [a-z]';
  const json = 'root ::= "{" char "}"\nchar ::= [0-9]';
  t.is(
    eitherOf(calls, json),
    [
      "root ::= calls-root | form-root",
      'calls-root ::= "root" char\nchar ::= [a-z]',
      'form-root ::= "{" form-char "}"\nform-char ::= [0-9]',
    ].join("\n"),
  );
});
