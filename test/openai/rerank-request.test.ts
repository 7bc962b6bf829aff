// The body of the rerank routes in both forms, and the answers.
import test from "ava";
import { parseRerankRequest, type RerankRequest, rerankReply, sigmoid } from "../../src/openai/rerank-request.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { refusal } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const parse = (body: JsonObject): RerankRequest =>
  parseRerankRequest(body, { config: testConfig(), modelName: "rank" });

test("Jina's documents are texts or objects, TEI's are texts", (t) => {
  const jina = parse({ query: "q", documents: ["a", { text: "b", other: 1 }], top_n: 9, return_documents: true });
  t.deepEqual(jina, {
    form: "jina",
    query: "q",
    documents: ["a", "b"],
    topN: 2,
    returnText: true,
    normalize: false,
    ignored: [],
  });
  const tei = parse({ query: "q", texts: ["a"], raw_scores: false, truncate: true });
  t.like(tei, { form: "tei", documents: ["a"], returnText: false, normalize: true, ignored: ["truncate"] });
});

const wrong: [body: JsonObject, code: string, param: string][] = [
  [{ documents: ["a"] }, "missing_required_parameter", "query"],
  [{ query: 1, documents: ["a"] }, "invalid_type", "query"],
  [{ query: "q" }, "missing_required_parameter", "documents"],
  [{ query: "q", documents: ["a"], texts: ["a"] }, "invalid_value", "texts"],
  [{ query: "q", documents: [] }, "array_below_min_length", "documents"],
  [{ query: "q", documents: "a" }, "invalid_type", "documents"],
  [{ query: "q", documents: ["a", 1] }, "invalid_type", "documents[1]"],
  [{ query: "q", documents: ["a", {}] }, "missing_required_parameter", "documents[1].text"],
  [{ query: "q", texts: [{ text: "a" }] }, "invalid_type", "texts[0]"],
  [{ query: "q", texts: new Array(1025).fill("a") }, "array_above_max_length", "texts"],
  [{ query: "q", texts: ["a"], top_n: 0 }, "integer_below_min_value", "top_n"],
  [{ query: "q", texts: ["a"], normalize: 1 }, "invalid_type", "normalize"],
  [{ query: "q", texts: ["a"], normalize: true, raw_scores: true }, "invalid_value", "raw_scores"],
];

test("every mistake is 400 and names its field", (t) => {
  for (const [body, code, param] of wrong) {
    t.like(
      refusal(() => parse(body)),
      { status: 400, code, param },
      JSON.stringify(body).slice(0, 80),
    );
  }
});

test("the best come first, equal ones by index, and only as many as asked for", (t) => {
  const request = parse({ query: "q", documents: ["a", "b", "c", "d"], top_n: 3, return_documents: true });
  const reply = rerankReply({ request, modelName: "rank", scores: [1, 3, -1, 3], promptTokens: 12 });
  t.is(
    JSON.stringify(reply),
    '{"object":"list","model":"rank","results":[' +
      '{"index":1,"relevance_score":3,"document":{"text":"b"}},' +
      '{"index":3,"relevance_score":3,"document":{"text":"d"}},' +
      '{"index":0,"relevance_score":1,"document":{"text":"a"}}],' +
      '"usage":{"prompt_tokens":12,"total_tokens":12}}',
  );
});

test("TEI's answer is a bare array", (t) => {
  const answer = (body: JsonObject) =>
    rerankReply({ request: parse(body), modelName: "rank", scores: [1, 2], promptTokens: 3 });
  t.deepEqual(answer({ query: "q", texts: ["a", "b"] }), [
    { index: 1, score: 2 },
    { index: 0, score: 1 },
  ]);
  t.deepEqual(answer({ query: "q", texts: ["a", "b"], return_text: true, top_n: 1 }), [
    { index: 1, score: 2, text: "b" },
  ]);
});

test("a probability is between 0 and 1 whatever the logit", (t) => {
  t.is(sigmoid(0), 0.5);
  t.is(sigmoid(1e9), 1);
  t.is(sigmoid(-1e9), 0);
});
