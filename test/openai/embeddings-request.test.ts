// The body of POST /v1/embeddings: what is accepted, and how each mistake is refused.
import test from "ava";
import { type EmbeddingsRequest, parseEmbeddingsRequest } from "../../src/openai/embeddings-request.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { refusal } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

function parse(body: JsonObject, env: Record<string, string> = {}): EmbeddingsRequest {
  return parseEmbeddingsRequest(body, { config: testConfig(env), modelName: "embed", vocabSize: 100, width: 64 });
}

const inputsOf = (input: unknown) => parse({ input }).inputs;

test("an input is a text, tokens, or a list of either", (t) => {
  t.deepEqual(inputsOf("a b"), [{ pieces: ["a b"], path: "input" }]);
  t.deepEqual(inputsOf([1, 2]), [{ pieces: [1, 2], path: "input" }]);
  t.deepEqual(inputsOf([1, "x"]), [{ pieces: [1, "x"], path: "input" }]);
  t.deepEqual(inputsOf(["a", [1, 2]]), [
    { pieces: ["a"], path: "input[0]" },
    { pieces: [1, 2], path: "input[1]" },
  ]);
  t.is(inputsOf(new Array(2048).fill("x")).length, 2048);
});

test("without further fields: numbers, all of them, with length 1", (t) => {
  t.deepEqual(parse({ input: "x" }).form, { base64: false, dimensions: 64, norm: 2 });
  const asked = { input: "x", encoding_format: "base64", dimensions: 64, embd_normalize: -1 };
  t.deepEqual(parse(asked).form, { base64: true, dimensions: 64, norm: -1 });
});

const wrong: [body: JsonObject, code: string, param: string][] = [
  [{}, "missing_required_parameter", "input"],
  [{ input: null }, "missing_required_parameter", "input"],
  [{ input: 5 }, "invalid_type", "input"],
  [{ input: "" }, "string_below_min_length", "input"],
  [{ input: [] }, "array_below_min_length", "input"],
  [{ input: ["a", ""] }, "string_below_min_length", "input[1]"],
  [{ input: ["a", []] }, "array_below_min_length", "input[1]"],
  [{ input: ["a", true] }, "invalid_type", "input[1]"],
  [{ input: [1, 100] }, "invalid_value", "input[1]"],
  [{ input: [[1], [-1]] }, "invalid_value", "input[1][0]"],
  [{ input: [1.5] }, "invalid_type", "input[0]"],
  [{ input: new Array(2049).fill("x") }, "array_above_max_length", "input"],
  [{ input: "x", dimensions: 0 }, "integer_below_min_value", "dimensions"],
  [{ input: "x", dimensions: 65 }, "integer_above_max_value", "dimensions"],
  [{ input: "x", dimensions: "8" }, "invalid_type", "dimensions"],
  [{ input: "x", encoding_format: "int8" }, "invalid_value", "encoding_format"],
  [{ input: "x", embd_normalize: 33 }, "integer_above_max_value", "embd_normalize"],
  [{ input: "x", embd_normalize: -2 }, "integer_below_min_value", "embd_normalize"],
  [{ input: "x", model: 1 }, "invalid_type", "model"],
];

test("every mistake is 400 and names its field", (t) => {
  for (const [body, code, param] of wrong) {
    const refused = refusal(() => parse(body));
    t.like(refused, { status: 400, code, param }, JSON.stringify(body).slice(0, 80));
  }
});

test("MODEL_STRICT wants the embedding model's name", (t) => {
  const strict = { MODEL_STRICT: "true" };
  t.is(parse({ input: "x", model: "embed" }, strict).inputs.length, 1);
  t.like(
    refusal(() => parse({ input: "x", model: "other" }, strict)),
    { status: 404, code: "model_not_found" },
  );
  t.like(
    refusal(() => parse({ input: "x" }, strict)),
    { status: 400, code: "missing_required_parameter" },
  );
});

test("unknown fields are reported, those without effect by nature are not", (t) => {
  t.deepEqual(parse({ input: "x", user: "u", truncate: true, model: "any" }).ignored, ["truncate"]);
});
