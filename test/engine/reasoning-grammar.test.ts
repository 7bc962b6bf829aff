// A caller's grammar inside the frame that a template writes around a JSON answer.
import test from "ava";
import { expectsFence, strictJson } from "../../src/engine/json-grammar.ts";
import { afterReasoning, afterTags } from "../../src/engine/reasoning-grammar.ts";

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
  t.regex(grammar, /^response-format-schema ::= own-root$/m);
  t.regex(grammar, /^response-format ::= response-format-schema$/m);
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

test("where the frame names the JSON only once, that is its place", (t) => {
  t.is(
    afterReasoning('root ::= "y"', 'root ::= "x" response-format-schema\nresponse-format-schema ::= object'),
    ['root ::= "x" response-format-schema', "response-format-schema ::= own-root", 'own-root ::= "y"'].join("\n"),
  );
  t.regex(
    afterReasoning('root ::= "y"', "root ::= response-format\nresponse-format ::= object")!,
    /response-format ::= own/,
  );
});

test("a frame of our own: reasoning that may come, that has begun, or that there is none of", (t) => {
  const own = 'root ::= "y"';
  const rootOf = (generationPrompt: string, startTag: string, endTag: string) =>
    afterTags(own, { generationPrompt, startTag, endTag }).split("\n")[0];
  const [a, x] = ["\\U00000061", "\\U00000078"];
  t.is(rootOf("a", "x", "xx"), `root ::= "${a}" ("${x}" until-0)? own-root`);
  t.is(rootOf("ax\n", "x", "xx"), `root ::= "${a}${x}\\U0000000a" until-0 own-root`);
  t.is(rootOf("", "", ""), "root ::= own-root");
});

test("any text up to the end tag is reasoning, also where it begins like it", (t) => {
  const rules = afterTags('root ::= "y"', { generationPrompt: "", startTag: "<", endTag: "aab" });
  const until = new Map([...rules.matchAll(/^(until-\d) ::= (.*)$/gm)].map(([, name, rule]) => [name!, rule!]));
  /** How many characters the rules take, or undefined when they never end. */
  const taken = (text: string): number | undefined => {
    let rule: string | undefined = "until-0";
    for (const [index, character] of [...text].entries()) {
      const class_ = `\\U${character.codePointAt(0)!.toString(16).padStart(8, "0")}`;
      const ways: string[] = until.get(rule)!.split(" | ");
      const way: string =
        ways.find((way) => way.startsWith(`[${class_}]`)) ?? ways.find((way) => way.startsWith("[^"))!;
      if (way.startsWith("[^")) t.false(way.split("]")[0]!.includes(class_));
      rule = way.split(" ")[1];
      if (rule === undefined) return index + 1;
    }
    return undefined;
  };
  for (const text of ["aab", "aaab", "xaab!", "abaab", "aabaab", "aa", "abab", ""]) {
    const end = text.indexOf("aab");
    t.is(taken(text), end === -1 ? undefined : end + 3, text);
  }
});

test("JSON is never fenced", (t) => {
  const either = 'root ::= "x" ("```json" space response-format space "```" | space response-format space)';
  t.is(strictJson(either), 'root ::= "x" space response-format space');
  t.false(expectsFence(either));
  const forced = 'response-format ::= "```json" space response-format-schema space "```"\nroot ::= response-format';
  t.is(strictJson(forced), "response-format ::= space response-format-schema space\nroot ::= response-format");
  t.true(expectsFence(forced));
  t.false(expectsFence('string ::= "```json" space'));
});

test("a frame without a place for JSON is none", (t) => {
  t.is(afterReasoning('root ::= "yes"', 'root ::= "x"'), undefined);
});

test("what is not closed reaches to the end, and is looked at once", (t) => {
  t.timeout(10_000);
  for (const open of ['"', "[", "<", "{"]) {
    const rest = `${open}${'\\"<[{'.repeat(13_000)}`;
    t.true(afterReasoning(`root ::= a ${rest}`, frame)!.endsWith(`\nown-root ::= own-a ${rest}`), open);
  }
});
