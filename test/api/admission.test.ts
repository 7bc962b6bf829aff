// Quotas and the queue as clients meet them: real sockets, the official client, a scripted engine.
import { Agent, request as httpRequest } from "node:http";
import test, { type ExecutionContext } from "ava";
import OpenAI, { RateLimitError } from "openai";
import { Quota } from "../../src/admission/quota.ts";
import { createMockEngine, type MockEngine, type MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { parseKeyFile } from "../../src/keys/key-file.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { CountingStore } from "../helpers/admission.ts";
import { FakeClock } from "../helpers/fake-clock.ts";
import { gate } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { jsonOf, startServer, type TestServer, testConfig, testKey, testKeys, withKey } from "../helpers/server.ts";

type Api = {
  readonly server: TestServer;
  readonly engine: MockEngine;
  readonly clock: FakeClock;
  readonly store: CountingStore;
  readonly post: (body?: object, init?: RequestInit) => Promise<Response>;
  readonly headersNow: () => Record<string, string>;
};

const path = "/v1/completions";
/** A mock token is a byte: with BOS this prompt comes to 10 tokens. */
const prompt = "123456789";

/** @param limits of the test's key as the key file writes them */
async function start(
  t: ExecutionContext,
  limits: string,
  options: {
    script?: () => Iterable<MockStep>;
    sequences?: number;
    env?: Record<string, string>;
    keys?: KeyRing;
    cut?: AbortSignal;
  } = {},
): Promise<Api> {
  const { script, sequences = 4, env = {}, keys = testKeys(`test:${testKey}:${limits}`), cut } = options;
  const engine = createMockEngine({ ...(script && { script }), maxConcurrentRequests: sequences });
  const [clock, store] = [new FakeClock(), new CountingStore()];
  const quota = new Quota(store, clock);
  const server = await startServer({ engine: () => engine, quota, keys, config: testConfig(env), ...(cut && { cut }) });
  t.teardown(async () => {
    await server.close();
    await engine.dispose();
  });
  const post = (body: object = { prompt, max_tokens: 5 }, init: RequestInit = {}) => {
    const headers = { ...withKey, "Content-Type": "application/json" };
    return fetch(`${server.url}${path}`, { method: "POST", headers, body: JSON.stringify(body), ...init });
  };
  const identity = () => keys.authenticate({ key: testKey });
  return { server, engine, clock, store, post, headersNow: () => quota.headers(identity()) };
}

/** Where a key's line says nothing. */
const testLimits = { requestsPerMinute: 1, tokensPerMinute: 0, concurrentRequests: 0 };

const six = ["limit", "remaining", "reset"].flatMap((name) =>
  ["requests", "tokens"].map((kind) => `x-ratelimit-${name}-${kind}`),
);
const rateNames = (answer: Response) => six.filter((name) => answer.headers.has(name));

test("every answer to an authenticated API call has the headers, whatever it says", async (t) => {
  const { server, post, clock } = await start(t, "6/1000");
  const get = (target: string, init: RequestInit = {}) =>
    fetch(`${server.url}${target}`, { headers: withKey, ...init });
  const answers: [number, Response][] = [
    [200, await post()],
    [200, await post({ prompt, max_tokens: 5, stream: true })],
    [200, await get("/v1/models")],
    [400, await post({ prompt: 5 })],
    [415, await post({}, { headers: { ...withKey, "Content-Encoding": "gzip" } })],
    [404, await get("/v1/nothing")],
    [405, await get("/v1/models", { method: "POST" })],
    [400, await post({ prompt: "x".repeat(2000) })],
    [429, await post()],
  ];
  for (const [status, answer] of answers) {
    await answer.text();
    t.is(answer.status, status);
    t.deepEqual(rateNames(answer), six, String(status));
  }
  t.deepEqual(
    answers.map(([, answer]) => answer.headers.get("x-ratelimit-remaining-requests")),
    ["5", "4", "3", "2", "1", "1", "1", "0", "0"],
  );
  server.parts.heartbeat.state = "draining";
  clock.advance(1500);
  const drained = await post();
  t.is(drained.status, 503);
  t.is(drained.headers.get("x-ratelimit-reset-requests"), "58.5s");
});

test("probes, refused credentials and callers without quotas get none", async (t) => {
  const { server } = await start(t, "6/1000");
  const bare = [await fetch(`${server.url}/health`), await fetch(`${server.url}/v1/models`)];
  const open = await start(t, "", { keys: new KeyRing("auth-disabled", testLimits) });
  bare.push(await open.post());
  for (const answer of bare) t.deepEqual(rateNames(answer), [], String(answer.status));
});

test("without a token quota the token headers are absent", async (t) => {
  const { post } = await start(t, "6");
  const answer = await post();
  t.deepEqual(rateNames(answer), [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
  ]);
});

test("the official client sees a RateLimitError that says which limit and when to come back", async (t) => {
  const { server, clock } = await start(t, "1");
  const client = new OpenAI({ apiKey: testKey, baseURL: `${server.url}/v1`, maxRetries: 0 });
  await client.models.list();
  clock.advance(20_000);
  const error = await t.throwsAsync(Promise.resolve(client.models.list()), { instanceOf: RateLimitError });
  t.is(error?.code, "rate_limit_exceeded");
  t.is(error?.type, "rate_limit_error");
  t.regex(error?.message ?? "", /requests per minute, try again in 40s/);
  t.is(error?.headers?.get("retry-after"), "40");
  t.is(error?.headers?.get("retry-after-ms"), "40000");
});

test("the official client's retry obeys retry-after-ms and passes", async (t) => {
  const { server, clock } = await start(t, "1");
  const seen: number[] = [];
  const client = new OpenAI({
    apiKey: testKey,
    baseURL: `${server.url}/v1`,
    maxRetries: 1,
    fetch: async (...call) => {
      const answer = await fetch(...call);
      seen.push(answer.status);
      // The quota's clock goes on while the client waits as long as it was told.
      if (answer.status === 429) clock.advance(Number(answer.headers.get("retry-after-ms")));
      return answer;
    },
  });
  await client.models.list();
  clock.advance(59_950);
  await client.models.list();
  t.deepEqual(seen, [200, 429, 200]);
});

test("a 400 and a 413 cost a request; 429 and 503 leave no trace", async (t) => {
  const door = gate();
  const script = () => [{ wait: door.promise }];
  const env = { MAX_QUEUE_SIZE: "1", MAX_REQUEST_BODY_SIZE: "2000" };
  const { post, store, engine, server } = await start(t, "5/100/3", { script, sequences: 1, env });
  t.is((await post({ prompt: 1 })).status, 400);
  t.is((await post({ prompt: "x".repeat(3000) })).status, 413);
  t.deepEqual([store.sum("requests", "test"), store.sum("tokens", "test")], [2, 0]);
  const served = [post(), post()];
  await until(() => engine.running === 1 && server.parts.gate.waiting === 1);
  t.deepEqual([store.sum("requests", "test"), store.sum("tokens", "test")], [4, 30]);
  t.is((await post()).status, 503);
  t.is((await post({ prompt, max_tokens: 80 })).status, 429);
  await until(() => store.sum("concurrency", "test") === 2);
  t.deepEqual([store.sum("requests", "test"), store.sum("tokens", "test")], [4, 30]);
  door.open();
  for (const answer of await Promise.all(served)) t.is(answer.status, 200);
});

test("a call that is cut while its body still comes costs nothing", async (t) => {
  const cut = new AbortController();
  const { server, store } = await start(t, "5/100/3", { cut: cut.signal });
  const connection = new RawConnection(server.port);
  connection.write(head(`POST ${path} HTTP/1.1`, `x-api-key: ${testKey}`, "Content-Length: 100"));
  await until(() => store.sum("requests", "test") === 1);
  cut.abort(new Failure("draining", "The server is shutting down."));
  await connection.closed;
  t.regex(connection.received, /^HTTP\/1\.1 503 .*"draining"/s);
  await until(() => store.sum("concurrency", "test") === 0);
  t.is(store.sum("requests", "test"), 0);
});

test("a prompt beyond the quota of tokens is 400 and not 429: waiting cannot help", async (t) => {
  const { post, store } = await start(t, "5/9");
  const answer = await post();
  t.is(answer.status, 400);
  t.is((await jsonOf(answer)).error.code, "request_exceeds_token_quota");
  t.is(store.sum("requests", "test"), 1);
});

test("tokens are reserved while a request runs and corrected when it has ended, by each answer", async (t) => {
  const door = gate();
  const script = () => [{ text: "a" }, { wait: door.promise }, { text: "b" }];
  const { post, store, engine } = await start(t, "9/10000", { script });
  const answer = post({ prompt, max_tokens: 500, n: 2 });
  await until(() => engine.running === 2);
  t.is(store.sum("tokens", "test"), 10 + 2 * 500);
  door.open();
  const { usage } = await jsonOf(await answer);
  await until(() => store.sum("tokens", "test") === usage.total_tokens);
  t.is(usage.total_tokens, 10 + 2 * 3);
});

test("a client that leaves while it is served pays what was computed, one that waits pays nothing", async (t) => {
  const script = () => [{ text: "a" }, { wait: new Promise(() => {}) }];
  const { post, store, engine, server } = await start(t, "9/10000/9", { script, sequences: 1 });
  const leave = [new AbortController(), new AbortController()];
  const gone = leave.map(({ signal }) => post({ prompt, max_tokens: 500 }, { signal }).catch(() => "gone"));
  await until(() => engine.running === 1 && server.parts.gate.waiting === 1);
  leave[1]!.abort();
  await until(() => store.sum("concurrency", "test") === 1);
  t.deepEqual([store.sum("requests", "test"), store.sum("tokens", "test")], [1, 510]);
  t.deepEqual([engine.running, engine.ended.aborted], [1, 0]);
  leave[0]!.abort();
  await until(() => store.sum("concurrency", "test") === 0);
  t.deepEqual(await Promise.all(gone), ["gone", "gone"]);
  await until(() => store.sum("tokens", "test") === 11);
  t.is(store.sum("requests", "test"), 1);
});

test("concurrency counts who waits and who runs, until the last byte", async (t) => {
  const door = gate();
  const { post, server, engine } = await start(t, "99/0/2", { script: () => [{ wait: door.promise }], sequences: 1 });
  const two = [post(), post()];
  await until(() => engine.running === 1 && server.parts.gate.waiting === 1);
  const refused = await post();
  t.is(refused.status, 429);
  t.is((await jsonOf(refused)).error.code, "concurrency_limit_exceeded");
  t.is(refused.headers.get("retry-after"), "5");
  t.is(refused.headers.get("x-ratelimit-remaining-requests"), "97");
  door.open();
  await Promise.all(two);
  await until(async () => (await post()).status === 200);
});

test("a reload keeps the counts and applies new limits at once", async (t) => {
  const entries = (limits: string) => parseKeyFile(`test:${testKey}:${limits}`).entries;
  let line = "4";
  const keys = new KeyRing(entries(line), testLimits, { reread: () => entries(line) });
  const { post } = await start(t, "", { keys });
  const reload = (limits: string) => {
    line = limits;
    keys.reload();
  };
  t.is((await post()).headers.get("x-ratelimit-remaining-requests"), "3");
  reload("2");
  t.is((await post()).headers.get("x-ratelimit-remaining-requests"), "0");
  t.is((await post()).status, 429);
  reload("3");
  t.is((await post()).status, 200);
});

test("a full queue is 503 with Retry-After; probes answer meanwhile, and so do routes that need no sequence", async (t) => {
  const door = gate();
  const env = { MAX_QUEUE_SIZE: "1" };
  const { post, server, engine } = await start(t, "99", { script: () => [{ wait: door.promise }], sequences: 1, env });
  const two = [post(), post()];
  await until(() => engine.running === 1 && server.parts.gate.waiting === 1);
  const refused = await post();
  t.is(refused.status, 503);
  t.is(refused.headers.get("retry-after"), "5");
  t.like(await jsonOf(refused), { error: { type: "server_error", code: "queue_full" } });
  const health = await jsonOf(await fetch(`${server.url}/health`));
  t.deepEqual(health.queue, { max_concurrent: 1, max_queue_size: 1, active: 1, waiting: 1 });
  t.is((await fetch(`${server.url}/v1/models`, { headers: withKey })).status, 200);
  door.open();
  await Promise.all(two);
  const after = await jsonOf(await fetch(`${server.url}/health`));
  t.deepEqual([after.queue.active, after.queue.waiting], [0, 0]);
});

test("MAX_QUEUED_TOKENS bounds the waiting prompts", async (t) => {
  const door = gate();
  const env = { MAX_QUEUED_TOKENS: "15" };
  const { post, server, engine } = await start(t, "99", { script: () => [{ wait: door.promise }], sequences: 1, env });
  const served = [post(), post({ prompt: "x".repeat(500), max_tokens: 1 })];
  await until(() => engine.running === 1 && server.parts.gate.waiting === 1);
  t.is((await jsonOf(await post())).error.code, "queue_full");
  door.open();
  for (const answer of await Promise.all(served)) t.is(answer.status, 200);
});

test("QUEUE_TIMEOUT is a real 503 for streams, too: nothing is sent to who waits", async (t) => {
  const door = gate();
  const env = { QUEUE_TIMEOUT: "0.05" };
  const { post, engine } = await start(t, "99", { script: () => [{ wait: door.promise }], sequences: 1, env });
  const running = post();
  await until(() => engine.running === 1);
  for (const stream of [false, true]) {
    const late = await post({ prompt, stream });
    t.is(late.status, 503);
    t.like(await jsonOf(late), { error: { code: "queue_timeout" } });
    t.truthy(late.headers.get("retry-after"));
  }
  door.open();
  t.is((await running).status, 200);
});

test("REQUEST_TIMEOUT runs from leaving the queue", async (t) => {
  const doors = [gate(), gate()];
  let runs = 0;
  const script = () => [{ wait: doors[runs++]!.promise }];
  const env = { REQUEST_TIMEOUT: "5" };
  const { post, engine, server } = await start(t, "99", { script, sequences: 1, env });
  const first = post();
  await until(() => engine.running === 1);
  const second = post();
  await until(() => server.parts.gate.waiting === 1);
  // The first is cut after its time; the second has waited that long and still gets its own.
  t.is((await first).status, 504);
  await until(() => runs === 2);
  doors[1]!.open();
  t.is((await second).status, 200);
});

test("a client that leaves while third in the queue is gone; the fourth moves up, and nothing is computed for it", async (t) => {
  const doors: (() => void)[] = [];
  const script = () => {
    const door = gate();
    doors.push(door.open);
    return [{ wait: door.promise }];
  };
  const { post, engine, server } = await start(t, "99", { script, sequences: 1 });
  const leaves = new AbortController();
  const order: number[] = [];
  const ask = (n: number, init: RequestInit = {}) => {
    const answer = post({ prompt }, init).then(() => order.push(n));
    return until(() => engine.running + server.parts.gate.waiting === n + 1).then(() => ({ answer }));
  };
  const asked = [];
  for (let n = 0; n < 5; n++) asked.push(await ask(n, n === 3 ? { signal: leaves.signal } : {}));
  leaves.abort();
  await t.throwsAsync(asked[3]!.answer, { any: true });
  await until(() => server.parts.gate.waiting === 3);
  for (let served = 1; served <= 4; served++) {
    await until(() => doors.length === served);
    doors[served - 1]!();
    await until(() => order.length === served);
  }
  t.deepEqual(order, [0, 1, 2, 4]);
  t.deepEqual(engine.ended, { finished: 4, aborted: 0, failed: 0 });
});

/** One request on its own connection. @returns its status */
function ask(port: number, agent: Agent, key: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const call = httpRequest({ host: "127.0.0.1", port, path, method: "POST", headers, agent }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode ?? 0));
    });
    call.on("error", reject);
    call.end(JSON.stringify({ prompt, max_tokens: 3 }));
  });
}

test("1,000 clients against 4 sequences and a queue of 64: 932 are refused, the others served, and counters add up", async (t) => {
  const door = gate();
  const env = { MAX_QUEUE_SIZE: "64" };
  const { server } = await start(t, "100000", { script: () => [{ wait: door.promise }, { text: "a" }], env });
  const agent = new Agent({ maxSockets: 1000 });
  t.teardown(() => agent.destroy());
  const clients = Array.from({ length: 1000 }, () => ask(server.port, agent, testKey));
  const { counters } = server.parts.metrics;
  await until(() => counters.queueRejections === 932);
  t.deepEqual([server.parts.gate.active, server.parts.gate.waiting], [4, 64]);
  door.open();
  const statuses = await Promise.all(clients);
  t.is(statuses.filter((status) => status === 503).length, 932);
  t.is(statuses.filter((status) => status === 200).length, 68);
  const { requestsTotal, requestsSuccess, requestsError, queueRejections } = counters;
  t.deepEqual([requestsTotal, requestsSuccess, requestsError, queueRejections], [68, 68, 0, 932]);
  t.deepEqual([server.parts.gate.active, server.parts.gate.waiting], [0, 0]);
});

test("two keys, one sends 50 requests at once and one 5: the second waits at most twice as long as alone", async (t) => {
  const other = "sk-test-other-0123456789";
  const keys = testKeys(`flood:${testKey}\nsmall:${other}`);
  const door = gate();
  let opened = false;
  const script = () => (opened ? [{ text: "a" }] : [{ wait: door.promise }]);
  const { server, engine } = await start(t, "", { keys, script, sequences: 1 });
  const agent = new Agent({ maxSockets: 100 });
  t.teardown(() => agent.destroy());
  const served: string[] = [];
  const send = (name: string, key: string, count: number) =>
    Array.from({ length: count }, () => ask(server.port, agent, key).then(() => served.push(name)));
  const flood = send("flood", testKey, 50);
  await until(() => engine.running === 1 && server.parts.gate.waiting === 49);
  const small = send("small", other, 5);
  await until(() => server.parts.gate.waiting === 54);
  opened = true;
  door.open();
  await Promise.all([...flood, ...small]);
  // Alone it would have waited for the one that ran and for its own five; now it waits for five others in between.
  t.true(served.lastIndexOf("small") + 1 <= 2 * 6, served.join(" "));
});

test("while the model loads nothing is taken", async (t) => {
  const [clock, store] = [new FakeClock(), new CountingStore()];
  const quota = new Quota(store, clock);
  const server = await startServer({ heartbeat: new Heartbeat(), quota, keys: testKeys(`test:${testKey}:5/100`) });
  t.teardown(server.close);
  const answer = await fetch(`${server.url}/v1/models`, { headers: withKey });
  t.is(answer.status, 503);
  t.deepEqual(rateNames(answer), six);
  t.is(answer.headers.get("x-ratelimit-remaining-requests"), "5");
});
