// The metrics as they are printed: names, kinds, order, both forms, what is told of single keys, and what recording costs.
import test from "ava";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { CallRecord } from "../../src/telemetry/call-record.ts";
import { type KeyReadings, Metrics, type Readings } from "../../src/telemetry/metrics.ts";

const gatewayNames = [
  "requests_total",
  "requests_success",
  "requests_error",
  "requests_active",
  "requests_authenticated",
  "requests_unauthorized",
  "bytes_sent",
  "queue_depth",
  "queue_rejections",
  "queue_wait_seconds_total",
  "uptime_seconds",
];

const ownNames: Record<string, "histogram" | "counter" | "gauge"> = {
  time_to_first_token_seconds: "histogram",
  inter_token_latency_seconds: "histogram",
  e2e_request_latency_seconds: "histogram",
  request_queue_time_seconds: "histogram",
  request_prefill_time_seconds: "histogram",
  request_decode_time_seconds: "histogram",
  prompt_tokens_total: "counter",
  prompt_tokens_cached_total: "counter",
  generation_tokens_total: "counter",
  draft_tokens_total: "counter",
  draft_tokens_accepted_total: "counter",
  requests_finished_total: "counter",
  cancellations_total: "counter",
  http_responses_total: "counter",
  admission_rejections_total: "counter",
  decode_steps_total: "counter",
  decode_passes_total: "counter",
  main_thread_busy_seconds_total: "counter",
  main_thread_cpu_seconds_total: "counter",
  requests_running: "gauge",
  requests_waiting: "gauge",
  kv_cache_usage_ratio: "gauge",
  event_loop_lag_seconds: "gauge",
  process_resident_memory_bytes: "gauge",
  vram_used_bytes: "gauge",
  vram_total_bytes: "gauge",
  model_loaded: "gauge",
  context_tokens: "gauge",
  auth_keys: "gauge",
  quota_store_up: "gauge",
  build_info: "gauge",
};

const keyNames = ["key_requests_total", "key_tokens_total", "key_quota_remaining"];

function readings(metrics: Metrics): Readings {
  return {
    gateway: metrics.counters.gatewayMetrics(new Heartbeat()),
    running: 2,
    waiting: 3,
    kvCacheUsage: 0.25,
    decodeWork: { steps: 3, passes: 4 },
    speculation: { draftedTokens: 12, acceptedTokens: 9 },
    gpuMemory: { usedBytes: 10, totalBytes: 20 },
    modelLoaded: true,
    modelName: 'a "quoted" \\ model\nname',
    contextTokens: 4096,
    authKeys: 5,
    quotaStoreUp: false,
    build: { version: "1.2.3", gitSha: "abc", llamaCpp: "b1", gpu: "cuda" },
  };
}

const remaining: KeyReadings = [
  { keyId: "team-a", kind: "requests", remaining: 7 },
  { keyId: "team-a", kind: "tokens", remaining: 100 },
];

/** The samples of a Prometheus text, by name and labels as printed. */
function samplesOf(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(" ");
      return [line.slice(0, space), Number(line.slice(space + 1))] as const;
    }),
  );
}

const typesOf = (text: string) =>
  Object.fromEntries([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));

/** One streamed call of team-a: two answers of three deltas each, then its end. */
function answeredCall(metrics: Metrics): CallRecord {
  const call = new CallRecord(metrics);
  call.identified("team-a");
  call.joinedQueue(true);
  call.leftQueue(500);
  for (const choice of [0, 1, 0, 1, 0, 1]) call.delta(choice);
  call.finished("stop", { queueMs: 500, prefillMs: 20, decodeMs: 30 });
  call.finished("length", { queueMs: 500, prefillMs: 20, decodeMs: 30 });
  call.generated({ promptTokens: 100, cachedTokens: 40, completionTokens: 6 });
  call.ended(200, true);
  return call;
}

test("what was computed is told when it is known: at once, or when the engine has let go of the call", (t) => {
  const told: string[] = [];
  const refused = new CallRecord(new Metrics());
  refused.whenComputed(() => told.push("refused"));
  const waiting = new CallRecord(new Metrics());
  waiting.joinedQueue(false);
  waiting.whenComputed(() => told.push("left the queue"));
  const running = new CallRecord(new Metrics());
  running.joinedQueue(false);
  running.leftQueue(1);
  running.whenComputed(() => told.push("ran"));
  t.deepEqual(told, ["refused", "left the queue"]);
  running.generated({ promptTokens: 5, cachedTokens: 0, completionTokens: 1 });
  running.generated({ promptTokens: 6, cachedTokens: 0, completionTokens: 2 });
  t.deepEqual(told, ["refused", "left the queue", "ran"]);
  t.is(running.describe(false).promptTokens, 5);
  answeredCall(new Metrics()).whenComputed(() => told.push("answered"));
  t.is(told.at(-1), "answered");
});

test("Prometheus text: the eleven in their order, then ours, each with its kind and a help text", async (t) => {
  const metrics = new Metrics();
  const text = await metrics.text(readings(metrics));
  const gauges = ["requests_active", "queue_depth", "uptime_seconds"];
  const gateway = gatewayNames.map((name) => [`gateway_${name}`, gauges.includes(name) ? "gauge" : "counter"]);
  const own = Object.entries(ownNames).map(([name, type]) => [`llama_gguf_${name}`, type]);
  t.deepEqual(Object.entries(typesOf(text)), [...gateway, ...own]);
  t.deepEqual(
    [...text.matchAll(/^# HELP (\S+) \S.*\.$/gm)].map(([, name]) => name),
    [...gateway, ...own].map(([name]) => name),
  );
  t.true(text.endsWith("\n"));
});

test("JSON: the eleven under gateway, ours under engine with histograms as count and sum", async (t) => {
  const metrics = new Metrics();
  answeredCall(metrics);
  metrics.answered("/v1/models", 200);
  metrics.answered("none", 404);
  // biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test
  const json = (await metrics.json(readings(metrics))) as any;
  t.deepEqual(Object.keys(json), ["gateway", "engine"]);
  t.deepEqual(Object.keys(json.gateway), gatewayNames);
  t.deepEqual(Object.keys(json.engine), Object.keys(ownNames));
  t.like(json.engine, {
    time_to_first_token_seconds: { true: { count: 1 }, false: { count: 0, sum: 0 } },
    inter_token_latency_seconds: { count: 4 },
    request_queue_time_seconds: { count: 1, sum: 0.5 },
    request_prefill_time_seconds: { count: 2, sum: 0.04 },
    prompt_tokens_total: 100,
    prompt_tokens_cached_total: 40,
    generation_tokens_total: 6,
    requests_finished_total: { stop: 0, length: 1, error: 0, timeout: 0, cancelled: 0 },
    http_responses_total: { "/v1/models": { 200: 1 }, none: { 404: 1 } },
    admission_rejections_total: { rpm: 0, tpm: 0, concurrency: 0, queue_full: 0, loading: 0, draining: 0 },
    draft_tokens_total: 12,
    draft_tokens_accepted_total: 9,
    decode_steps_total: 3,
    decode_passes_total: 4,
    kv_cache_usage_ratio: 0.25,
    vram_total_bytes: 20,
    quota_store_up: 0,
    build_info: { version: "1.2.3", git_sha: "abc", llama_cpp: "b1", gpu: "cuda" },
  });
  t.true(json.engine.process_resident_memory_bytes > 1e6);
  t.deepEqual(Object.keys(json.engine.event_loop_lag_seconds), ["0.5", "0.9", "0.99"]);
});

test("single keys are told of only when asked for, in either form", async (t) => {
  const metrics = new Metrics();
  answeredCall(metrics);
  const everybody = await metrics.text(readings(metrics));
  t.false(everybody.includes("team-a"));
  t.false(JSON.stringify(await metrics.json(readings(metrics))).includes("team-a"));
  const samples = samplesOf(await metrics.text(readings(metrics), remaining));
  t.is(samples.get('llama_gguf_key_requests_total{key_id="team-a"}'), 1);
  t.is(samples.get('llama_gguf_key_tokens_total{key_id="team-a",kind="prompt"}'), 100);
  t.is(samples.get('llama_gguf_key_tokens_total{key_id="team-a",kind="cached"}'), 40);
  t.is(samples.get('llama_gguf_key_tokens_total{key_id="team-a",kind="generated"}'), 6);
  t.is(samples.get('llama_gguf_key_quota_remaining{key_id="team-a",kind="requests"}'), 7);
  // biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test
  const json = (await metrics.json(readings(metrics), remaining)) as any;
  t.deepEqual(Object.keys(json.engine).slice(-3), keyNames);
  t.deepEqual(json.engine.key_quota_remaining, { "team-a": { requests: 7, tokens: 100 } });
  t.deepEqual(await metrics.text(readings(metrics), []).then((text) => text.match(/key_quota_remaining\{/g)), null);
});

test("the buckets of the time to the first token reach from 1 ms to 2560 s", async (t) => {
  const metrics = new Metrics();
  const samples = [...samplesOf(await metrics.text(readings(metrics))).keys()];
  const bounds = samples.flatMap(
    (name) => name.match(/first_token_seconds_bucket\{le="([^"]+)",stream="true"/)?.[1] ?? [],
  );
  t.is(bounds[0], "0.001");
  t.deepEqual(bounds.slice(-2), ["2560", "+Inf"]);
});

test("METRICS_VLLM_ALIASES repeats series under their vllm: names with the model's name", async (t) => {
  const plain = new Metrics();
  t.false((await plain.text(readings(plain))).includes("vllm:"));
  const metrics = new Metrics({ vllmAliases: true });
  answeredCall(metrics);
  const text = await metrics.text(readings(metrics));
  const model = 'model_name="a \\"quoted\\" \\\\ model\\nname"';
  const samples = samplesOf(text);
  const expected: [string, number][] = [
    [`vllm:num_requests_running{${model}}`, 2],
    [`vllm:num_requests_waiting{${model}}`, 3],
    [`vllm:kv_cache_usage_perc{${model}}`, 0.25],
    [`vllm:prefix_cache_queries_total{${model}}`, 100],
    [`vllm:prefix_cache_hits_total{${model}}`, 40],
    [`vllm:prompt_tokens_total{${model}}`, 100],
    [`vllm:generation_tokens_total{${model}}`, 6],
    [`vllm:request_success_total{${model},finished_reason="length"}`, 1],
    [`vllm:time_to_first_token_seconds_count{${model},stream="true"}`, 1],
    [`vllm:inter_token_latency_seconds_count{${model}}`, 4],
    [`vllm:e2e_request_latency_seconds_count{${model}}`, 1],
    [`vllm:request_queue_time_seconds_sum{${model}}`, 0.5],
    [`vllm:request_prefill_time_seconds_count{${model}}`, 2],
    [`vllm:request_decode_time_seconds_count{${model}}`, 2],
  ];
  for (const [name, value] of expected) t.is(samples.get(name), value, name);
  t.is(typesOf(text)["vllm:time_to_first_token_seconds"], "histogram");
  t.false("vllm:" in ((await metrics.json(readings(metrics))) as object));
});

/** The counters of one call that went as `live` says. */
async function countsAfter(live: (call: CallRecord) => void): Promise<(name: string) => number> {
  const metrics = new Metrics();
  const call = new CallRecord(metrics);
  call.identified("team-a");
  live(call);
  const samples = samplesOf(await metrics.text(readings(metrics)));
  return (name) => samples.get(name) ?? samples.get(`llama_gguf_${name}`) ?? Number.NaN;
}

test("a client that leaves is counted by the stage it left in, and is neither success nor error", async (t) => {
  const stages: Record<string, (call: CallRecord) => void> = {
    queued: () => {},
    prefill: (call) => call.leftQueue(1),
    decode: (call) => {
      call.leftQueue(1);
      call.delta(0);
    },
  };
  for (const [stage, reach] of Object.entries(stages)) {
    const count = await countsAfter((call) => {
      call.joinedQueue(true);
      reach(call);
      call.ended(stage === "decode" ? 200 : 404, false);
    });
    t.is(count(`cancellations_total{stage="${stage}"}`), 1);
    t.is(count('requests_finished_total{reason="cancelled"}'), stage === "queued" ? 0 : 1);
    t.is(count("gateway_requests_success") + count("gateway_requests_error"), 0);
    t.is(count("e2e_request_latency_seconds_count"), 0);
  }
});

test("refusals are counted by their reason, also among the eleven", async (t) => {
  const kinds = {
    rate_limit_exceeded: "rpm",
    token_rate_limit_exceeded: "tpm",
    concurrency_limit_exceeded: "concurrency",
    queue_full: "queue_full",
    queued_tokens_full: "queued_tokens",
    queue_timeout: "queue_timeout",
    loading: "loading",
    draining: "draining",
  } as const;
  for (const [kind, reason] of Object.entries(kinds)) {
    const failure = new Failure(kind as keyof typeof kinds, "No.");
    const count = await countsAfter((call) => {
      call.failed(failure);
      call.failed(failure);
      call.ended(failure.status, true);
    });
    t.is(count(`admission_rejections_total{reason="${reason}"}`), 1);
    t.is(count("gateway_queue_rejections"), reason.startsWith("queue") ? 1 : 0);
    t.is(count("gateway_requests_unauthorized"), failure.status === 429 ? 1 : 0);
    t.is(count("gateway_requests_total"), 0);
  }
});

test("a failure while it ran, a deadline and an error event are errors, told apart by their reason", async (t) => {
  const ends: [Failure, number, string][] = [
    [new Failure("generation_failed", "No."), 500, "error"],
    [new Failure("generation_failed", "No."), 200, "error"],
    [new Failure("request_timeout", "No."), 504, "timeout"],
    [new Failure("request_timeout", "No."), 200, "timeout"],
  ];
  for (const [failure, status, reason] of ends) {
    const count = await countsAfter((call) => {
      call.joinedQueue(status === 200);
      call.leftQueue(1);
      call.failed(failure);
      call.ended(status, true);
    });
    t.is(count(`requests_finished_total{reason="${reason}"}`), 1);
    t.is(count("gateway_requests_error"), 1);
    t.is(count("e2e_request_latency_seconds_count"), 0);
  }
});

test("a reader who was slow does not make the engine look slow", async (t) => {
  const metrics = new Metrics();
  let now = 0;
  const call = new CallRecord(metrics, () => now);
  const at = (ms: number, what: () => void) => {
    now = ms;
    what();
  };
  at(100, () => call.delta(0));
  at(130, () => call.delta(0));
  at(10_000, () => call.readerCaughtUp(0));
  at(10_010, () => call.delta(0));
  const samples = samplesOf(await metrics.text(readings(metrics)));
  t.is(samples.get("llama_gguf_inter_token_latency_seconds_count"), 2);
  t.is(samples.get("llama_gguf_inter_token_latency_seconds_sum"), 0.04);
  t.is(samples.get('llama_gguf_time_to_first_token_seconds_sum{stream="false"}'), 0.1);
});

test("what the access log says of a call: tokens, times, and why it ended", (t) => {
  const described = answeredCall(new Metrics()).describe(true);
  t.like(described, {
    keyId: "team-a",
    promptTokens: 100,
    cachedTokens: 40,
    completionTokens: 6,
    finishReason: "length",
    error: null,
    queueMs: 500,
  });
  t.true(described.ttftMs! >= 0 && described.durationMs! >= described.ttftMs!);
  const refused = new CallRecord(new Metrics());
  refused.failed(new Failure("token_rate_limit_exceeded", "No."));
  t.like(refused.describe(true), { keyId: null, error: "rate_limit_exceeded", finishReason: null, queueMs: null });
  t.is(new CallRecord(new Metrics()).describe(false).error, "client_closed_request");
});

test("recording a token takes microseconds", (t) => {
  const call = new CallRecord(new Metrics());
  const count = 200_000;
  const began = performance.now();
  for (let token = 0; token < count; token++) call.delta(0);
  const microseconds = ((performance.now() - began) * 1000) / count;
  t.log(`${microseconds.toFixed(2)} us a token`);
  t.true(microseconds < 50);
});
