// GET /props over the mock engine.
import test from "ava";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf, withKey } from "../helpers/server.ts";

test("the server's properties, with the operator's defaults", async (t) => {
  const env = { DEFAULT_TEMPERATURE: "0.3", MODEL_STRICT: "true" };
  const { server } = await startMockApi(t, { contextTokens: 512, maxConcurrentRequests: 3 }, env);
  const answer = await fetch(`${server.url}/props`, { headers: withKey });
  t.is(answer.status, 200);
  const body = await jsonOf(answer);
  t.deepEqual(Object.keys(body), [
    "default_generation_settings",
    "total_slots",
    "model_alias",
    "model_ftype",
    "modalities",
    "chat_template",
    "chat_template_caps",
    "bos_token",
    "eos_token",
    "build_info",
  ]);
  t.is(body.default_generation_settings.n_ctx, 512);
  t.like(body.default_generation_settings.params, { temperature: 0.3, top_k: 40, seed: -1, n_predict: -1 });
  t.is(body.total_slots, 3);
  t.is(body.model_alias, "served");
  t.deepEqual(body.modalities, { vision: false, audio: false, video: false });
});

test("a seed of the operator's is told, and nothing can be set", async (t) => {
  const { server, post } = await startMockApi(t, {}, { SEED: "7" });
  const body = await jsonOf(await fetch(`${server.url}/props`, { headers: withKey }));
  t.is(body.default_generation_settings.params.seed, 7);
  t.is((await post("/props", {})).status, 405);
});
