// GET /slots over the mock engine: what an administrator sees of each sequence.
import test from "ava";
import { gate, startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { jsonOf, startServer, testConfig, testKeys, withKey } from "../helpers/server.ts";

const members = [
  "id",
  "n_ctx",
  "is_processing",
  "state",
  "key_id",
  "request_id",
  "age_ms",
  "n_prompt_tokens",
  "n_prompt_tokens_processed",
  "n_prompt_tokens_cache",
  "n_decoded",
  "n_remain",
];

test("each sequence says what it does and for whom, and never a text", async (t) => {
  const release = gate();
  const { engine, server, post } = await startMockApi(t, {
    maxConcurrentRequests: 2,
    *script() {
      yield { text: "spoken" };
      yield { wait: release.promise };
    },
  });
  const body = { messages: [{ role: "user", content: "whispered" }], max_tokens: 10 };
  const headers = { ...withKey, "x-request-id": "mine" };
  const answer = post("/v1/chat/completions", body, { headers });
  await until(() => engine.slots().some(({ decodedTokens }) => decodedTokens === 1));
  const slots = await fetch(`${server.url}/slots`, { headers: withKey });
  t.is(slots.status, 200);
  const text = await slots.text();
  t.notRegex(text, /spoken|whispered/);
  const [busy, idle] = JSON.parse(text);
  t.deepEqual(Object.keys(busy), members);
  t.deepEqual(Object.keys(idle), members);
  t.like(busy, { id: 0, n_ctx: 16384, is_processing: true, state: "decode", key_id: "test", request_id: "mine" });
  t.like(busy, { n_decoded: 1, n_remain: 9, n_prompt_tokens_cache: 0 });
  t.is(busy.n_prompt_tokens, busy.n_prompt_tokens_processed);
  t.true(Number.isInteger(busy.age_ms));
  t.like(idle, { id: 1, is_processing: false, state: "idle", key_id: null, request_id: null, age_ms: 0, n_remain: 0 });
  release.open();
  await (await answer).text();
  const after = await jsonOf(await fetch(`${server.url}/slots`, { headers: withKey }));
  t.deepEqual(
    after.map((slot: { state: string }) => slot.state),
    ["idle", "idle"],
  );
});

test("only administrators see it; with AUTH_ENABLED=false everybody; while loading there is none", async (t) => {
  const keys = testKeys("boss:sk-boss-0123456789abc\nuser:sk-user-0123456789abc");
  const server = await startServer({ keys, config: testConfig({ ADMIN_KEY_IDS: "boss" }) });
  t.teardown(server.close);
  const ask = (key: string) => fetch(`${server.url}/slots`, { headers: { "x-api-key": key } });
  t.is((await fetch(`${server.url}/slots`)).status, 401);
  const refused = await ask("sk-user-0123456789abc");
  t.is(refused.status, 403);
  t.is((await jsonOf(refused)).error.code, "admin_required");
  const loading = await ask("sk-boss-0123456789abc");
  t.is(loading.status, 200);
  t.deepEqual(await loading.json(), []);
});
