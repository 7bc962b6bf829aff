import test from "ava";
import { benchHttp, type HttpBenchOptions } from "../../src/bench/http-bench.ts";
import { percentile, summarise } from "../../src/bench/statistics.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { startServer, testKey } from "../helpers/server.ts";

function options(url: string, overrides: Partial<HttpBenchOptions> = {}): HttpBenchOptions {
  return {
    target: { url: new URL(`${url}/`), apiKey: testKey, endpoint: "chat" },
    prompt: undefined,
    promptWords: 20,
    prompts: "unique",
    maxTokens: 4,
    minTokens: 4,
    ignoreEos: false,
    requests: 6,
    warmup: 1,
    concurrency: 3,
    rate: undefined,
    cancel: 0,
    intruderWords: undefined,
    goodTtftMs: 60_000,
    seed: 1,
    onProgress: () => {},
    ...overrides,
  };
}

async function withServer(run: (url: string) => Promise<void>): Promise<void> {
  const engine = createMockEngine();
  const server = await startServer({ engine: () => engine });
  try {
    await run(server.url);
  } finally {
    await server.close();
  }
}

test("percentiles of nothing, one and two values", (t) => {
  t.is(percentile([], 50), 0);
  t.is(percentile([7], 99), 7);
  t.is(percentile([1, 3], 50), 2);
  const { min, max, mean, p50, count } = summarise([4, 2]);
  t.deepEqual({ min, max, mean, p50, count }, { min: 2, max: 4, mean: 3, p50: 3, count: 2 });
});

test("a load counts every request once, with the server's own token counts", async (t) => {
  await withServer(async (url) => {
    let progress = 0;
    const result = await benchHttp(options(url, { onProgress: (done) => (progress = done) }));
    t.is(progress, 6);
    t.is(result.requests_success, 6);
    t.is(result.requests_failed, 0);
    t.is(result.completion_tokens, 6 * 4);
    t.true(result.ttft.p50 > 0 && result.ttft.p50 <= result.total_latency.max);
    t.is(result.ttft.count, 6);
    t.is(result.model, "mock");
  });
});

test("completions, random arrivals and clients that leave", async (t) => {
  await withServer(async (url) => {
    const target = { ...options(url).target, endpoint: "completions" as const };
    const arriving = await benchHttp(options(url, { target, rate: 1000, prompts: "shared" }));
    t.is(arriving.requests_success, 6);
    const leaving = await benchHttp(options(url, { cancel: 1 }));
    t.is(leaving.requests_cancelled, 6);
    t.is(leaving.requests_success, 0);
  });
});

test("answers of random lengths, and what they cost the server", async (t) => {
  await withServer(async (url) => {
    const result = await benchHttp(options(url, { minTokens: 1, requests: 20 }));
    t.true(result.completion_tokens > 20 && result.completion_tokens < 20 * 4);
    t.true(result.server!.main_thread_us_per_token > 0);
    const { main_thread_cpu_us_per_token: cpu } = result.server!;
    if (process.platform === "linux") t.true(cpu! > 0);
    else t.is(cpu, null);
    t.true(result.server!.event_loop_lag_p99 >= 0);
    t.is(result.server!.passes_per_step, 0, "the mock engine computes nothing");
  });
});

test("refusals and dead servers are failures with their reason", async (t) => {
  await withServer(async (url) => {
    const target = { ...options(url).target, apiKey: "sk-wrong-key-0123456789" };
    const refused = await benchHttp(options(url, { target }));
    t.is(refused.requests_failed, 6);
    t.regex(refused.problems[0]!, /status 401: .*invalid_api_key/);
  });
  const dead = await benchHttp(options("http://127.0.0.1:1"));
  t.is(dead.requests_failed, 6);
  t.regex(dead.problems[0]!, /ECONNREFUSED/);
});
