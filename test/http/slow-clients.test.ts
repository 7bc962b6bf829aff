// Clients that send or read too slowly: what they hold is bounded and ends with their deadlines, and nobody else notices.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import test, { type ExecutionContext } from "ava";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { type MockApi, startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { testKey, withKey } from "../helpers/server.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes, without garbage. */
function memoryInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const key = `x-api-key: ${testKey}`;
const deadlines = { CLIENT_HEADER_TIMEOUT: "3", CLIENT_BODY_TIMEOUT: "3", REQUEST_TIMEOUT: "3" };

/** Tokens of 64 KiB for those who ask for much, two short ones for the others. */
function* script({ maxTokens }: { readonly maxTokens: number }): Generator<MockStep> {
  while (maxTokens > 100) yield { text: "x".repeat(64 * 1024) };
  yield { text: "short" };
  yield { text: " answer" };
}

/** A connection that sends this, and reads nothing. Destroyed when the test ends. */
function reader(t: ExecutionContext, port: number, bytes: string): RawConnection {
  const connection = new RawConnection(port);
  connection.socket.pause();
  connection.write(bytes);
  connection.closed.catch(() => {});
  t.teardown(() => connection.socket.destroy());
  return connection;
}

function post(path: string, fields: object): string {
  const body = JSON.stringify(fields);
  return `${head(`POST ${path} HTTP/1.1`, key, `Content-Length: ${body.length}`)}${body}`;
}

const endless = { prompt: "Hi", stream: true, max_tokens: 10_000 };
const openCalls = ({ server }: MockApi) => server.parts.heartbeat.openCalls;

test.serial(
  "a reader who stops reading a stream loses the sequence at REQUEST_TIMEOUT, and the connection soon after",
  async (t) => {
    const api = await startMockApi(t, { script }, deadlines);
    reader(t, api.server.port, post("/v1/completions", endless));
    await until(() => api.engine.running === 1);
    await until(() => api.engine.running === 0);
    t.is(api.engine.ended.aborted, 1);
    await until(() => openCalls(api) === 0);
    t.is(api.server.parts.heartbeat.openCalls, 0);
  },
);

test.serial("a reader who never reads a complete answer loses the connection when its time is over", async (t) => {
  const api = await startMockApi(t, { script }, deadlines);
  // 200 tokens of 64 KiB are more than the kernel's buffers hold.
  reader(t, api.server.port, post("/v1/completions", { prompt: "Hi", max_tokens: 200 }));
  await until(() => api.engine.ended.finished === 1);
  t.is(openCalls(api), 1);
  await until(() => openCalls(api) === 0);
  t.is(api.engine.running, 0);
  // It never got its answer: that is a departure, and no success.
  const { requestsTotal, requestsSuccess, requestsError } = api.server.parts.metrics.counters;
  t.deepEqual([requestsTotal, requestsSuccess, requestsError], [1, 0, 0]);
});

test.serial(
  "requests in a pipeline whose answers nobody reads are not taken without end, and end with their time",
  async (t) => {
    const api = await startMockApi(t, { script }, deadlines);
    const many = 20_000;
    reader(t, api.server.port, head("GET /v1/models HTTP/1.1", key).repeat(many));
    const { counters } = api.server.parts.metrics;
    t.timeout(60_000);
    await until(() => counters.requestsAuthenticated > 100);
    let before = 0;
    await until(async () => {
      const still = counters.requestsAuthenticated === before;
      before = counters.requestsAuthenticated;
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      return still;
    });
    t.true(counters.requestsAuthenticated < many);
    await until(() => openCalls(api) === 0);
  },
);

test.serial(
  "500 slow clients hold no sequence and little memory beyond their deadlines, and others are served meanwhile",
  async (t) => {
    const api = await startMockApi(t, { script, maxConcurrentRequests: 100 }, deadlines);
    const { port, url } = api.server;
    const served = async (count: number) => {
      for (let call = 0; call < count; call++) {
        const answer = await api.post("/v1/completions", { prompt: "Hi", max_tokens: 5 });
        t.is(answer.status, 200);
        t.true((await answer.text()).includes('"text":"short answer"'));
      }
    };
    await served(20);
    const before = memoryInUse();
    const heads = Array.from({ length: 250 }, () => new RawConnection(port));
    for (const connection of heads) connection.write("GET /v1/models HTTP/1.1\r\nHost: x\r\n");
    const drip = setInterval(() => {
      for (const { socket } of heads) if (socket.writable) socket.write("a");
    }, 300);
    t.teardown(() => clearInterval(drip));
    const bodies = Array.from({ length: 200 }, () => new RawConnection(port));
    for (const connection of bodies)
      connection.write(`${head("POST /v1/completions HTTP/1.1", key, "Content-Length: 1000")}{"prompt":`);
    const readers = Array.from({ length: 50 }, () => reader(t, port, post("/v1/completions", endless)));
    await until(() => api.engine.running >= 50);
    await served(50);
    const held = memoryInUse() - before;
    t.log(`${Math.round(held / 2 ** 20)} MiB held for 500 clients, 50 of them readers of an endless stream`);
    // About 1 MiB for each reader, a little for everybody else.
    t.true(held < 150 * 2 ** 20);
    await Promise.all([...heads, ...bodies].map(({ closed }) => closed.catch(() => {})));
    clearInterval(drip);
    for (const connection of [...heads, ...bodies])
      t.regex(connection.received, /^HTTP\/1\.1 408 .*"request_timeout"/s);
    await until(() => openCalls(api) === 0 && api.engine.running === 0);
    for (const { socket } of readers) socket.destroy();
    await served(20);
    t.is((await fetch(`${url}/v1/models`, { headers: withKey })).status, 200);
    const { running, waiting } = api.engine;
    t.deepEqual({ running, waiting }, { running: 0, waiting: 0 });
  },
);
