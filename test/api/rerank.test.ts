// POST /v1/rerank and /rerank over the mock engine, whose scores grow with the documents' length.
import test from "ava";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf } from "../helpers/server.ts";

test("Jina's form", async (t) => {
  const { post } = await startMockApi(t);
  const documents = ["ab", { text: "abcd" }, "abc"];
  const answer = await post("/v1/rerank", { query: "q", documents, top_n: 2, return_documents: true });
  t.is(answer.status, 200);
  const { object, model, results, usage } = await jsonOf(answer);
  t.is(object, "list");
  t.is(model, "served");
  t.deepEqual(
    results.map(({ index, document }: { index: number; document: unknown }) => [index, document]),
    [
      [1, { text: "abcd" }],
      [2, { text: "abc" }],
    ],
  );
  t.true(results[0].relevance_score < 0);
  t.deepEqual(usage, { prompt_tokens: 5 + 7 + 6, total_tokens: 5 + 7 + 6 });
});

test("TEI's form, with probabilities, on the path without a version", async (t) => {
  const { post } = await startMockApi(t);
  const answer = await post("/rerank", { query: "q", texts: ["ab", "abcd"], raw_scores: false });
  const results = await jsonOf(answer);
  t.deepEqual(
    results.map(({ index }: { index: number }) => index),
    [1, 0],
  );
  t.deepEqual(Object.keys(results[0]), ["index", "score"]);
  t.true(results.every(({ score }: { score: number }) => score > 0 && score < 1));
});

test("a pair that does not fit is refused with its place", async (t) => {
  const { post } = await startMockApi(t, { contextTokens: 16 });
  const documents = await post("/v1/rerank", { query: "q", documents: ["x", "much too long for this"] });
  t.is(documents.status, 400);
  t.like((await jsonOf(documents)).error, { code: "context_length_exceeded", param: "documents[1]" });
  const texts = await post("/rerank", { query: "q", texts: ["much too long for this"] });
  t.like((await jsonOf(texts)).error, { code: "context_length_exceeded", param: "texts[0]" });
});

test("a server whose models cannot rerank says so", async (t) => {
  const { post } = await startMockApi(t, { vectors: false });
  const answer = await post("/v1/rerank", { query: "q", documents: ["x"] });
  t.is(answer.status, 400);
  t.like((await jsonOf(answer)).error, { code: "unsupported_model", param: "model" });
});
