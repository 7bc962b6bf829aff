// The official clients, unmodified, against the real engine on tiny-chat over a real socket: one suite for all of them.
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type Clock, systemClock } from "../../src/admission/clock.ts";
import { Quota } from "../../src/admission/quota.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { packageRoot } from "../../src/paths.ts";
import { CountingStore } from "../helpers/admission.ts";
import { until } from "../helpers/process.ts";
import { startServer, type TestServer, testConfig, testKey, testKeys } from "../helpers/server.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";
import { anthropic } from "./anthropic-client.ts";
import { animal, type Client, type ClientKind, type Connection, type RefusalStatus } from "./client.ts";
import { langchain } from "./langchain-client.ts";
import { openai } from "./openai-client.ts";
import { vercel } from "./vercel-client.ts";

const kinds = [openai, anthropic, vercel, langchain];

/** Keys that may ask once a minute. */
const onceKey = (name: string, use: string) => `sk-once-0123456789-${name}-${use}`;
const keyLines = [
  `test:${testKey}`,
  ...kinds.flatMap(({ name }) => ["error", "retry"].map((use) => `${name}-${use}:${onceKey(name, use)}:1`)),
];

/** The time of the quotas, which stands still. */
let nowMs = 0;
const clock: Clock = { ...systemClock, now: () => nowMs };

let engine: Engine;
let server: TestServer;
test.before(async () => {
  const embedding = join(packageRoot, "models", "tiny-embed.gguf");
  ({ engine } = await loadTinyEngine({ CTX: "4096" }, { vectorModels: { embedding } }));
  const quota = new Quota(new CountingStore(), clock);
  const keys = testKeys(keyLines.join("\n"));
  server = await startServer({ engine: () => engine, quota, keys, config: testConfig({ MODEL_ALIAS: "tiny-chat" }) });
});
test.after.always(async () => {
  await server?.close();
  await engine?.dispose();
});

const connect = (kind: ClientKind, options: Partial<Connection> = {}): Client =>
  kind.connect({ url: server.url, apiKey: testKey, maxRetries: 0, temperature: 0, fetch, ...options });

/** Answers go on to the end of the context. */
const endless: typeof fetch = (url, init) => {
  const body = { ...JSON.parse(String(init?.body)), ignore_eos: true };
  return fetch(url, { ...init, body: JSON.stringify(body) });
};

/** Shorter than any client's wait between attempts. */
const leastWaitMs = 100;

/** Until the test ends, timers of this process get another length. */
function replaceSetTimeout(t: ExecutionContext, lengthOf: (ms: number) => number): void {
  const own = globalThis.setTimeout;
  const replaced = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
    own(callback, lengthOf(ms), ...args);
  globalThis.setTimeout = Object.assign(replaced, own) as typeof setTimeout;
  t.teardown(() => {
    globalThis.setTimeout = own;
  });
}

async function read(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

const france = "What is the capital of France?";
const paris = "The capital of France is Paris.";
const busy = () => engine.slots().some(({ state }) => state === "decode");
const cancelled = async () => {
  const { engine } = (await (await fetch(`${server.url}/metrics`)).json()) as Metrics;
  return engine.requests_finished_total.cancelled ?? 0;
};
type Metrics = { readonly engine: { readonly requests_finished_total: { readonly cancelled?: number } } };

async function leave(t: ExecutionContext, ask: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const before = await cancelled();
  const controller = new AbortController();
  const asked = ask(controller.signal).then(
    () => "ended",
    () => "ended",
  );
  await until(busy);
  controller.abort();
  t.is(await asked, "ended");
  await until(async () => !busy() && (await cancelled()) === before + 1);
}

for (const kind of kinds) {
  const { name } = kind;

  test.serial(`${name}: an answer, and the same as a stream`, async (t) => {
    const client = connect(kind);
    const text = await client.chat(france);
    t.is(text, paris);
    const pieces: string[] = [];
    for await (const piece of client.stream(france)) if (piece) pieces.push(piece);
    t.true(pieces.length > 1);
    t.is(pieces.join(""), text);
  });

  test.serial(`${name}: a tool is called, its result goes back, and the answer tells of it`, async (t) => {
    const cities: string[] = [];
    const answer = await connect(kind).useTool("What is the weather in Paris?", (city) => {
      cities.push(city);
      return '{"condition": "sunny", "degrees": 18}';
    });
    t.deepEqual(cities, ["Paris"]);
    t.regex(answer, /^The weather in Paris is .*sunny/);
  });

  test.serial(`${name}: structured output is what its schema says`, async (t) => {
    const { success } = animal.safeParse(await connect(kind).structured("Describe a cow as JSON."));
    t.true(success);
  });

  if (kind.embeds) {
    test.serial(`${name}: embeddings come in the order of their texts, of length 1`, async (t) => {
      const texts = ["A cat eats fish.", "A cat eats meat.", "The sky is blue."];
      const vectors = await connect(kind).embed(texts);
      const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
      t.deepEqual(
        vectors.map((vector) => [vector.length, Math.round(dot(vector, vector) * 1e4)]),
        texts.map(() => [64, 1e4]),
      );
      t.true(dot(vectors[0]!, vectors[1]!) > dot(vectors[0]!, vectors[2]!));
    });
  }

  test.serial(`${name}: errors are of the client's own kind`, async (t) => {
    const fails = async (status: RefusalStatus, options: Partial<Connection>) => {
      const error = await t.throwsAsync(connect(kind, options).chat(france), { any: true });
      t.true(kind.isError(error, status), `${status}: ${error}`);
    };
    await fails(400, { temperature: 5 });
    await fails(401, { apiKey: "sk-wrong-0123456789abc" });
    await fails(404, { url: `${server.url}/nowhere` });
    const apiKey = onceKey(name, "error");
    await connect(kind, { apiKey }).chat(france);
    await fails(429, { apiKey });
    const loading = await startServer({ heartbeat: new Heartbeat() });
    t.teardown(loading.close);
    await fails(503, { url: loading.url });
  });

  test.serial(`${name}: who leaves frees the sequence, streaming or not`, async (t) => {
    const client = connect(kind, { fetch: endless });
    await leave(t, (signal) => client.chat(france, signal));
    await leave(t, (signal) => read(client.stream(france, signal)));
  });

  const awaits = kind.honoursRetryAfter
    ? "waits as long as Retry-After says, and passes"
    : "comes by itself, and passes";
  test.serial(`${name}: a retry after a used-up quota ${awaits}`, async (t) => {
    // Time goes on by what the client waits.
    const log = recordRetries(t, (ms) => (nowMs += kind.honoursRetryAfter ? ms : 37_000));
    const client = connect(kind, { apiKey: onceKey(name, "retry"), maxRetries: 2, fetch: log.fetch });
    await client.chat(france);
    nowMs += 23_000;
    t.is(await client.chat(france), paris);
    t.deepEqual(log.statuses, [200, 429, 200]);
    t.deepEqual(log.retryAfter, ["37"]);
    t.is(log.waits.length, 1);
    if (kind.honoursRetryAfter) t.deepEqual(log.waits, [37_000]);
  });

  test.serial(`${name}: a retry while the model is loading ${awaits}`, async (t) => {
    const heartbeat = new Heartbeat();
    const loading = await startServer({
      heartbeat,
      engine: () => engine,
      config: testConfig({ MODEL_ALIAS: "tiny-chat" }),
    });
    t.teardown(loading.close);
    const log = recordRetries(t, () => (heartbeat.state = "ready"));
    t.is(await connect(kind, { url: loading.url, maxRetries: 2, fetch: log.fetch }).chat(france), paris);
    t.deepEqual(log.statuses, [503, 200]);
    t.is(log.waits.length, 1);
    if (kind.honoursRetryAfter) t.deepEqual(log.waits, [Number(log.retryAfter[0]) * 1000]);
  });
}

/** What the client is answered and how long it waits after a refusal; the wait itself is over at once. */
function recordRetries(t: ExecutionContext, onWait: (ms: number) => unknown) {
  const log = { statuses: [] as number[], retryAfter: [] as (string | null)[], waits: [] as number[] };
  let refused = false;
  const recording: typeof fetch = async (...call) => {
    refused = false;
    const answer = await fetch(...call);
    log.statuses.push(answer.status);
    refused = answer.status >= 400;
    if (refused) log.retryAfter.push(answer.headers.get("retry-after"));
    return answer;
  };
  replaceSetTimeout(t, (ms) => {
    if (!refused || ms < leastWaitMs) return ms;
    refused = false;
    log.waits.push(ms);
    onWait(ms);
    return 0;
  });
  return { ...log, fetch: recording };
}
