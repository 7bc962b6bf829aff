// What only the real engine can refuse, as the routes tell it: grammars, and ids outside of its vocabulary.
import test from "ava";
import { jsonOf } from "../helpers/server.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

const messages = [{ role: "user", content: "Hello" }];

/** Each with the same message wherever it is sent. */
const broken: readonly (readonly [grammar: string, message: string])[] = [
  ["root ::= nowhere", "Grammar error: Undefined rule identifier 'nowhere'."],
  ["root ::= own-x", "Grammar error: Undefined rule identifier 'own-x'."],
  ['other ::= "a"', "Grammar error: it has no rule named 'root'."],
  ['root ::= ("a"\nother ::= "b"', "Grammar error: expecting ')' at line 2: ::= \"b\"."],
  ['root ::= "a"\n@@', "Grammar error: expecting name at line 2: @@."],
];

test("a grammar's mistake is told by the caller's own lines and names, also inside a template that thinks", async (t) => {
  const { post } = await startTinyApi(t);
  const requests: [path: string, body: object][] = [
    ["/v1/completions", { prompt: "Hello" }],
    ["/v1/chat/completions", { messages }],
    ["/v1/chat/completions", { messages, reasoning_effort: "none" }],
    ["/v1/responses", { input: "Hello" }],
  ];
  for (const [grammar, message] of broken) {
    for (const [path, body] of requests) {
      const answer = await post(path, { ...body, grammar });
      t.is(answer.status, 400);
      t.like(
        (await jsonOf(answer)).error,
        { message, code: "invalid_grammar", param: "grammar" },
        `${path} ${grammar}`,
      );
    }
  }
});

test("routes that only count or render refuse what generating would", async (t) => {
  const { post } = await startTinyApi(t);
  const outside = { "100000": 1 };
  for (const path of ["/apply-template", "/v1/chat/completions/input_tokens", "/v1/messages/count_tokens"]) {
    const told = async (fields: object) => (await jsonOf(await post(path, { messages, ...fields }))).error;
    t.like(await told({ grammar: "root ::= nowhere" }), { code: "invalid_grammar", param: "grammar" }, path);
    t.like(await told({ logit_bias: outside }), { code: "invalid_value", param: "logit_bias.100000" }, path);
    t.is(await told({ grammar: 'root ::= "a"', logit_bias: { "5": 1 } }), undefined, path);
  }
});

test("a grammar that does not compile is told before a prompt that does not fit", async (t) => {
  const { post, engine } = await startTinyApi(t);
  const long = "word ".repeat(engine.model.contextTokens);
  for (const [path, body] of [
    ["/v1/completions", { prompt: long }],
    ["/v1/chat/completions", { messages: [{ role: "user", content: long }] }],
    ["/v1/responses", { input: long }],
  ] as const) {
    const codeWith = async (grammar: string) => (await jsonOf(await post(path, { ...body, grammar }))).error.code;
    t.is(await codeWith("root ::= nowhere"), "invalid_grammar", path);
    t.is(await codeWith('root ::= "a"'), "context_length_exceeded", path);
  }
});
