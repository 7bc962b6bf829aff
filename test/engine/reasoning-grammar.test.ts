// A caller's grammar inside the frame that a template writes around a JSON answer.
import test from "ava";
import { afterReasoning } from "../../src/engine/reasoning-grammar.ts";

const frame = [
  "response-format ::= response-format-schema",
  "response-format-schema ::= object",
  'root ::= "a space\\n" space ("<think>" until "</think>" "\\n"?)? space space response-format space',
  'space ::= | " "',
  "",
].join("\n");

test("the caller's root stands where the JSON would, without the spaces around it", (t) => {
  const grammar = afterReasoning('root ::= "yes"', frame)!;
  t.is(
    grammar.match(/^root ::= .*$/m)![0],
    'root ::= "a space\\n" ("<think>" until "</think>" "\\n"?)? response-format',
  );
  t.regex(grammar, /^response-format ::= own-root$/m);
  t.regex(grammar, /^own-root ::= "yes"$/m);
});

test("every rule of the caller's gets a name of its own, and nothing else changes", (t) => {
  const own = 'root ::= (space | a-1{2,3} [a-z\\]b]* "root \\" x") <tag> # root\nspace ::= "_"\na-1 ::= "é"+ .';
  const grammar = afterReasoning(own, frame)!;
  t.true(
    grammar.endsWith(
      '\nown-root ::= (own-space | own-a-1{2,3} [a-z\\]b]* "root \\" x") <tag> # root\nown-space ::= "_"\nown-a-1 ::= "é"+ .',
    ),
  );
});

test("a frame without a place for JSON is none", (t) => {
  t.is(afterReasoning('root ::= "yes"', 'root ::= "x"'), undefined);
});
