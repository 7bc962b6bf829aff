// GET /metrics: who gets which form and which detail, and that known traffic is what it shows.
import test from "ava";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { gate, startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { jsonOf, startServer, testConfig, testKeys, withKey } from "../helpers/server.ts";

const hello = { messages: [{ role: "user", content: "hello" }] };

test("JSON is the default; scrapers that accept text get Prometheus text", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const typeFor = async (accept: string) => {
    const answer = await fetch(`${server.url}/metrics`, { headers: { accept } });
    t.is(answer.status, 200);
    const text = await answer.text();
    if (answer.headers.get("content-type")?.startsWith("text/plain")) t.regex(text, /^# HELP gateway_requests_total/);
    else t.is(text, JSON.stringify(JSON.parse(text), null, 2));
    return answer.headers.get("content-type");
  };
  const json = "application/json; charset=utf-8";
  const text = "text/plain; version=0.0.4; charset=utf-8";
  t.is(await typeFor("*/*"), json);
  t.is(await typeFor(""), json);
  t.is(await typeFor("application/json"), json);
  t.is(await typeFor("text/html,application/xhtml+xml,*/*;q=0.8"), json);
  t.is(await typeFor("text/plain"), text);
  t.is(await typeFor("Text/Plain;version=0.0.4"), text);
  const prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
  t.is(await typeFor(prometheus), text);
  t.is(await typeFor("application/openmetrics-text"), text);
  t.is((await fetch(`${server.url}/metrics`, { method: "HEAD" })).status, 200);
  t.is((await fetch(`${server.url}/metrics`, { method: "POST" })).status, 405);
});

test("it answers in every state, and says whether a model is there", async (t) => {
  const heartbeat = new Heartbeat();
  const server = await startServer({ heartbeat });
  t.teardown(server.close);
  for (const state of ["loading", "ready", "draining", "error"] as const) {
    heartbeat.state = state;
    const { gateway, engine } = await jsonOf(await fetch(`${server.url}/metrics`));
    t.is(Object.keys(gateway).length, 11);
    t.is(engine.model_loaded, 0);
    t.is(engine.build_info.llama_cpp, "unknown");
  }
});

test("what single keys did is shown to administrators only, in either form", async (t) => {
  const keys = testKeys("boss:sk-boss-0123456789abc\nuser:sk-user-0123456789abc");
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const server = await startServer({ keys, heartbeat, config: testConfig({ ADMIN_KEY_IDS: "boss" }) }, [
    ...(await import("../../src/api/routes.ts")).routes.filter(({ path }) => path === "/metrics"),
    {
      method: "GET",
      path: "/ok",
      class: "key",
      handler: (ctx) => {
        ctx.body = { ok: true };
      },
    },
  ]);
  t.teardown(server.close);
  await (await fetch(`${server.url}/ok`, { headers: { "x-api-key": "sk-user-0123456789abc" } })).text();
  const view = async (headers: Record<string, string>) => {
    const text = await (await fetch(`${server.url}/metrics`, { headers: { accept: "text/plain", ...headers } })).text();
    const json = await (await fetch(`${server.url}/metrics`, { headers })).text();
    return [text.includes('llama_gguf_key_requests_total{key_id="user"} 1'), json.includes('"key_requests_total"')];
  };
  t.deepEqual(await view({ "x-api-key": "sk-boss-0123456789abc" }), [true, true]);
  t.deepEqual(await view({ authorization: "Bearer sk-boss-0123456789abc" }), [true, true]);
  t.deepEqual(await view({ "x-api-key": "sk-user-0123456789abc" }), [false, false]);
  t.deepEqual(await view({ "x-api-key": "sk-nobody-0123456789" }), [false, false]);
  t.deepEqual(await view({ authorization: "Basic abc" }), [false, false]);
  t.deepEqual(await view({}), [false, false]);
});

test("with AUTH_ENABLED=false there is nothing about single keys", async (t) => {
  const keys = new KeyRing("auth-disabled", { requestsPerMinute: 1, tokensPerMinute: 0, concurrentRequests: 0 });
  const server = await startServer({ keys });
  t.teardown(server.close);
  const text = await (await fetch(`${server.url}/metrics`, { headers: { accept: "text/plain" } })).text();
  t.false(text.includes("llama_gguf_key_"));
});

test("a key_id may be what every object has, and changes nothing else", async (t) => {
  const metrics = new Metrics();
  for (const keyId of ["__proto__", "constructor", "a"]) {
    metrics.keyTokens(keyId, { promptTokens: 5, cachedTokens: 0, completionTokens: 2 });
  }
  const server = await startServer({ metrics });
  t.teardown(server.close);
  const text = await (await fetch(`${server.url}/metrics`, { headers: withKey })).text();
  const values = { prompt: 5, cached: 0, generated: 2 };
  const tokens = Object.entries(JSON.parse(text).engine.key_tokens_total);
  t.deepEqual(tokens, [
    ["__proto__", values],
    ["constructor", values],
    ["a", values],
  ]);
  t.false("prompt" in {} || "prompt" in Object);
});

test("METRICS_AUTH_ENABLED asks for a key: any valid one, in every state, and a scrape is no activity", async (t) => {
  const server = await startServer({ config: testConfig({ METRICS_AUTH_ENABLED: "true" }) });
  t.teardown(server.close);
  t.is((await fetch(`${server.url}/metrics`)).status, 401);
  t.is((await fetch(`${server.url}/metrics`, { method: "POST" })).status, 401);
  t.is((await fetch(`${server.url}/metrics`, { headers: { "x-api-key": "sk-nobody-0123456789" } })).status, 401);
  t.is((await fetch(`${server.url}/metrics`, { method: "POST", headers: withKey })).status, 405);
  const { heartbeat } = server.parts;
  for (const state of ["loading", "ready", "draining", "error"] as const) {
    heartbeat.state = state;
    const idleBefore = heartbeat.idleSeconds(Number.MAX_SAFE_INTEGER);
    const answer = await fetch(`${server.url}/metrics`, { headers: withKey });
    t.is(answer.status, 200);
    t.is(answer.headers.get("x-ratelimit-remaining-requests"), "1000000", "it is told, and nothing is taken");
    await answer.text();
    t.is(heartbeat.idleSeconds(Number.MAX_SAFE_INTEGER), idleBefore);
  }
  const { gateway } = await jsonOf(await fetch(`${server.url}/metrics`, { headers: withKey }));
  t.like(gateway, { requests_total: 0, requests_authenticated: 6, requests_unauthorized: 3 });
});

test("known traffic is what the metrics show", async (t) => {
  const { server, post } = await startMockApi(t, {
    *script() {
      yield { text: "a" };
      yield { text: "b" };
      yield { text: "c" };
    },
  });
  await (await post("/v1/chat/completions", hello)).text();
  await (await post("/v1/chat/completions", { ...hello, stream: true })).text();
  await (await post("/v1/completions", { prompt: "abc", max_tokens: 2, n: 2 })).text();
  await (await post("/v1/completions", { prompt: "abc", temperature: "hot" })).text();
  await (await post("/v1/nothing", {})).text();
  await (await fetch(`${server.url}/v1/models/none`, { headers: withKey })).text();
  await (await fetch(`${server.url}/v1/models`)).text();
  const { gateway, engine } = await jsonOf(await fetch(`${server.url}/metrics`, { headers: withKey }));
  t.like(gateway, { requests_error: 0, requests_unauthorized: 1, requests_active: 0, queue_depth: 0 });
  t.like(engine.http_responses_total, {
    "/v1/chat/completions": { 200: 2 },
    "/v1/completions": { 200: 1, 400: 1 },
    "/v1/models/*": { 404: 1 },
    "/v1/models": { 401: 1 },
    none: { 404: 1 },
  });
  t.is(engine.time_to_first_token_seconds.true.count, 1);
  t.is(engine.time_to_first_token_seconds.false.count, 2);
  // Three tokens and no text for the fourth, twice; two tokens, twice.
  t.is(engine.inter_token_latency_seconds.count, 2 + 2 + 1 + 1);
  t.is(engine.e2e_request_latency_seconds.count, 3);
  t.is(engine.request_queue_time_seconds.count, 3);
  t.is(engine.request_prefill_time_seconds.count, 4);
  t.is(engine.request_decode_time_seconds.count, 4);
  const promptOf = (text: string) => Buffer.byteLength(text) + 1;
  t.is(engine.prompt_tokens_total, 2 * promptOf("user: hello\nassistant: ") + promptOf("abc"));
  t.is(engine.generation_tokens_total, 4 + 4 + 2 + 2);
  t.like(engine.requests_finished_total, { stop: 2, length: 1, error: 0, timeout: 0, cancelled: 0 });
  t.like(engine, { model_loaded: 1, context_tokens: 16384, auth_keys: 1, requests_running: 0, requests_waiting: 0 });
});

test("a paths's number of labels is bounded, whatever is asked for", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  for (let at = 0; at < 50; at++) await (await fetch(`${server.url}/v1/${at}`, { headers: withKey })).text();
  for (let at = 0; at < 50; at++) await (await fetch(`${server.url}/v1/models/${at}`, { headers: withKey })).text();
  const { engine } = await jsonOf(await fetch(`${server.url}/metrics`));
  t.deepEqual(Object.keys(engine.http_responses_total).sort(), ["/v1/models/*", "none"]);
});

test("clients that leave are counted by stage, and the cells of the KV cache by what is in them", async (t) => {
  const release = gate();
  const { engine, server, post } = await startMockApi(t, {
    maxConcurrentRequests: 1,
    contextTokens: 1000,
    *script() {
      yield { text: "a" };
      yield { wait: release.promise };
    },
  });
  const leaver = new AbortController();
  const leaving = post("/v1/completions", { prompt: "x".repeat(99), max_tokens: 50 }, { signal: leaver.signal });
  await until(() => engine.slots().some(({ decodedTokens }) => decodedTokens === 1));
  const during = (await jsonOf(await fetch(`${server.url}/metrics`))).engine;
  t.is(during.kv_cache_usage_ratio, 0.101);
  leaver.abort();
  await t.throwsAsync(leaving, { any: true });
  await until(() => engine.running === 0);
  await until(async () => {
    const { cancellations_total, requests_finished_total } = (await jsonOf(await fetch(`${server.url}/metrics`)))
      .engine;
    return cancellations_total.decode === 1 && requests_finished_total.cancelled === 1;
  });
  t.pass();
});
