// The bodies of /tokenize and /detokenize.
import test from "ava";
import { parseDetokenizeRequest, parseTokenizeRequest } from "../../src/openai/token-requests.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { refusal } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const limits = { config: testConfig(), modelName: "served", vocabSize: 100 };
const tokenize = (body: JsonObject) => parseTokenizeRequest(body, limits);
const detokenize = (body: JsonObject) => parseDetokenizeRequest(body, limits);

test("the defaults are llama-server's", (t) => {
  t.deepEqual(tokenize({ content: "x", y: 1 }), {
    pieces: ["x"],
    addSpecial: false,
    parseSpecial: true,
    withPieces: false,
    ignored: ["y"],
  });
  t.deepEqual(tokenize({ content: [1, "x"] }).pieces, [1, "x"]);
  for (const body of [{}, { content: null }, { content: [] }]) t.deepEqual(tokenize(body).pieces, []);
  t.deepEqual(Array.from(detokenize({ tokens: [1, 99] }).tokens), [1, 99]);
  t.is(detokenize({}).tokens.length, 0);
});

test("every mistake is 400 and names its field", (t) => {
  const wrong: [() => unknown, code: string, param: string][] = [
    [() => tokenize({ content: 5 }), "invalid_type", "content"],
    [() => tokenize({ content: [true] }), "invalid_type", "content[0]"],
    [() => tokenize({ content: [100] }), "invalid_value", "content[0]"],
    [() => tokenize({ content: "x", add_special: "yes" }), "invalid_type", "add_special"],
    [() => detokenize({ tokens: "x" }), "invalid_type", "tokens"],
    [() => detokenize({ tokens: [1, "x"] }), "invalid_type", "tokens[1]"],
    [() => detokenize({ tokens: [1, -1] }), "invalid_value", "tokens[1]"],
    [() => detokenize({ tokens: [1, 1.5] }), "invalid_type", "tokens[1]"],
  ];
  for (const [parse, code, param] of wrong) t.like(refusal(parse), { status: 400, code, param }, param);
  t.regex(refusal(() => detokenize({ tokens: [1.5] }))!.message, /expected an integer, got a decimal number/);
});
