// GET /v1/models and /v1/models/{id}, for a served name with slashes and spaces in it.
import test from "ava";
import type { Engine, ModelInfo } from "../../src/engine/engine.ts";
import { jsonOf, startServer, withKey } from "../helpers/server.ts";

const model: ModelInfo = {
  name: "org/tiny chat",
  created: 1_700_000_000,
  buildId: "b1",
  contextTokens: 2048,
  trainContextTokens: 4096,
  vocabType: 2,
  vocabSize: 300,
  embeddingLength: 64,
  parameters: 1000,
  sizeBytes: 5000,
  ftype: "Q8_0",
  chatTemplate: { source: "", caps: {} },
  bosToken: "",
  eosToken: "",
  endTokens: [],
  fim: null,
  loraScales: [],
};

const described = {
  id: "org/tiny chat",
  object: "model",
  type: "model",
  created: 1_700_000_000,
  created_at: "2023-11-14T22:13:20.000Z",
  owned_by: "local",
  display_name: "org/tiny chat",
  max_input_tokens: 2048,
  max_model_len: 2048,
  meta: {
    vocab_type: 2,
    n_vocab: 300,
    n_ctx: 2048,
    n_ctx_train: 4096,
    n_embd: 64,
    n_params: 1000,
    size: 5000,
    ftype: "Q8_0",
  },
};

const start = () => startServer({ engine: () => ({ model }) as Engine });

test("the list holds the served model as one page", async (t) => {
  const server = await start();
  t.teardown(server.close);
  const answer = await fetch(`${server.url}/v1/models?limit=5`, { headers: withKey });
  t.is(answer.headers.get("content-type"), "application/json; charset=utf-8");
  t.is(
    await answer.text(),
    JSON.stringify({ object: "list", data: [described], has_more: false, first_id: model.name, last_id: model.name }),
  );
});

test("one model is found by its id, with slashes raw or escaped", async (t) => {
  const server = await start();
  t.teardown(server.close);
  for (const id of ["org/tiny%20chat", "org%2Ftiny%20chat", "org%2ftiny%20chat/", "org/tiny%20chat?x"]) {
    const answer = await fetch(`${server.url}/v1/models/${id}`, { headers: withKey });
    t.deepEqual(await jsonOf(answer), described, id);
  }
});

test("another id is 404 model_not_found, names what is served, and shows at most 64 characters of the id", async (t) => {
  const server = await start();
  t.teardown(server.close);
  for (const [id, shown] of [
    ["other", "other"],
    ["%E0%A4%A", "%E0%A4%A"],
    ["org//tiny%20chat", "org//tiny chat"],
    ["x".repeat(100), "x".repeat(64)],
  ]) {
    const answer = await fetch(`${server.url}/v1/models/${id}`, { headers: withKey });
    t.is(answer.status, 404);
    t.deepEqual((await jsonOf(answer)).error, {
      message: `The model '${shown}' does not exist; served: 'org/tiny chat'.`,
      type: "invalid_request_error",
      param: "model",
      code: "model_not_found",
    });
  }
});

test("side models follow the main one, which is listed once whatever it serves", async (t) => {
  const embedder = { model: { ...model, name: "embed" } };
  const server = await startServer({ engine: () => ({ model, embedder, reranker: { model } }) as unknown as Engine });
  t.teardown(server.close);
  const list = await jsonOf(await fetch(`${server.url}/v1/models`, { headers: withKey }));
  t.deepEqual(
    list.data.map(({ id }: { id: string }) => id),
    ["org/tiny chat", "embed"],
  );
  t.is(list.last_id, "embed");
  t.is((await jsonOf(await fetch(`${server.url}/v1/models/embed`, { headers: withKey }))).id, "embed");
});
