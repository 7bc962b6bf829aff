// The access log as calls end: one line for each, with its real status and what is known of its work.
import test, { type ExecutionContext } from "ava";
import type { Handler } from "../../src/api/handler.ts";
import type { Parts } from "../../src/api/parts.ts";
import { type Route, routes } from "../../src/api/routes.ts";
import { createMockEngine, type MockEngineOptions } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { readJsonObject } from "../../src/http/body.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import type { AccessRecord } from "../../src/telemetry/access-line.ts";
import { gate } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { exchange, head, RawConnection } from "../helpers/raw.ts";
import { startServer, type TestServer, testConfig, testKey, withKey } from "../helpers/server.ts";

type Logged = { readonly server: TestServer; readonly records: AccessRecord[] };

async function start(t: ExecutionContext, given: Partial<Parts> = {}, table?: readonly Route[]): Promise<Logged> {
  const records: AccessRecord[] = [];
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const accessLog = { write: (record: AccessRecord) => void records.push(record) };
  const server = await startServer({ heartbeat, accessLog, ...given }, table);
  t.teardown(server.close);
  return { server, records };
}

async function startWithEngine(t: ExecutionContext, options: MockEngineOptions, env: Record<string, string> = {}) {
  const engine = createMockEngine(options);
  const logged = await start(t, { engine: () => engine, config: testConfig(env) });
  const chat = (fields: object = {}, init: RequestInit = {}) =>
    fetch(`${logged.server.url}/v1/chat/completions?secret=query`, {
      method: "POST",
      headers: { ...withKey, "x-request-id": "mine" },
      body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], ...fields }),
      ...init,
    });
  return { ...logged, engine, chat };
}

/** The line that comes next; calls end a moment after their clients have everything. */
async function next(records: AccessRecord[]): Promise<AccessRecord> {
  await until(() => records.length > 0);
  return records.shift()!;
}

function route(method: "GET" | "POST", path: string, handler: Handler, options: Partial<Route> = {}): Route {
  return { method, path, class: "key", handler, ...options };
}

const ok: Handler = (ctx) => {
  ctx.body = { ok: true };
};

const answers = {
  *script() {
    yield { text: "a" };
    yield { text: "b" };
  },
};

test("an answered call: who, what, how many tokens, how it ended and how long it took", async (t) => {
  const { records, chat } = await startWithEngine(t, answers);
  for (const stream of [false, true]) {
    await (await chat({ stream })).text();
    const record = await next(records);
    t.like(record, {
      keyId: "test",
      method: "POST",
      path: "/v1/chat/completions",
      status: 200,
      requestId: "mine",
      promptTokens: 21,
      cachedTokens: 0,
      completionTokens: 3,
      finishReason: "stop",
      error: null,
    });
    t.true(record.queueMs! >= 0 && record.ttftMs! >= record.queueMs!);
    t.true(record.durationMs! >= record.ttftMs!);
  }
  await (await chat({ max_tokens: 1 })).text();
  t.like(await next(records), { completionTokens: 1, finishReason: "length" });
});

test("every refusal has its line, with the code that the client was told", async (t) => {
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const { server, records } = await start(t, { heartbeat }, [
    route("GET", "/ok", ok),
    route("POST", "/read", async (ctx, { config }) => {
      ctx.body = await readJsonObject(ctx, config);
    }),
    route("GET", "/limited", () => {
      throw new Failure("token_rate_limit_exceeded", "No.");
    }),
    route("GET", "/late", () => {
      throw new Failure("request_timeout", "No.");
    }),
    route("GET", "/broken", () => {
      throw new Error("broken");
    }),
  ]);
  const expect = async (status: number, error: string | null, keyId: string | null, request: Promise<unknown>) => {
    await request;
    t.like(await next(records), { status, error, keyId });
  };
  const get = (path: string, headers: Record<string, string> = withKey) =>
    fetch(server.url + path, { headers }).then((answer) => answer.text());
  await expect(200, null, "test", get("/ok"));
  await expect(401, "invalid_api_key", null, get("/ok", {}));
  await expect(401, "invalid_api_key", null, get("/nothing", { "x-api-key": "sk-wrong-0123456789abc" }));
  await expect(404, "not_found", "test", get("/nothing"));
  await expect(405, "method_not_allowed", "test", fetch(`${server.url}/ok`, { method: "POST", headers: withKey }));
  await expect(429, "rate_limit_exceeded", "test", get("/limited"));
  await expect(504, "request_timeout", "test", get("/late"));
  await expect(500, "internal_error", "test", get("/broken"));
  const post = (body: string) => fetch(`${server.url}/read`, { method: "POST", headers: withKey, body });
  await expect(400, "invalid_json", "test", post("{"));
  await expect(413, "payload_too_large", "test", post("x".repeat(11_000_000)));
  heartbeat.state = "draining";
  await expect(503, "draining", "test", get("/ok"));
  t.deepEqual(records, []);
});

test("requests that could not be read, or only in part, have lines as far as they are known", async (t) => {
  const { server, records } = await start(t, { config: testConfig({ CLIENT_HEADER_TIMEOUT: "0.2" }) }, [
    route("POST", "/read", async (ctx, { config }) => {
      ctx.body = await readJsonObject(ctx, config);
    }),
  ]);
  const unknown = { keyId: null, method: null, path: null, queueMs: null, durationMs: null };
  const answer = await exchange(server.port, "HELLO\r\n\r\n");
  t.like(await next(records), { ...unknown, status: 400, error: "bad_request" });
  await exchange(server.port, "");
  t.like(await next(records), { ...unknown, status: 408, error: "request_timeout" });
  await exchange(server.port, head("CONNECT example.org:443 HTTP/1.1"));
  t.like(await next(records), { ...unknown, status: 400, error: "bad_request" });
  await exchange(server.port, head(`GET /${"x".repeat(9000)} HTTP/1.1`));
  t.like(await next(records), { keyId: null, method: "GET", status: 414, error: "uri_too_long" });
  const chunked = head("POST /read HTTP/1.1", `x-api-key: ${testKey}`, "Transfer-Encoding: chunked");
  await exchange(server.port, `${chunked}zz\r\n`);
  t.like(await next(records), { keyId: "test", path: "/read", status: 400, error: "bad_request" });
  t.is(answer.headers["x-request-id"]?.length, 36);
  t.deepEqual(records, []);
});

test("public routes and OPTIONS have no line", async (t) => {
  const { server, records } = await start(t, {}, routes);
  for (const path of ["/", "/ping", "/health", "/metrics", "/api/hello"]) await (await fetch(server.url + path)).text();
  await fetch(`${server.url}/ping`, { method: "POST" });
  await fetch(`${server.url}/v1/models`, { method: "OPTIONS" });
  await (await fetch(`${server.url}/end`)).text();
  t.is((await next(records)).path, "/end");
  t.deepEqual(records, []);
});

test("a client that leaves before the head is a 499, after it what the head said", async (t) => {
  const release = gate();
  const { records, chat, engine } = await startWithEngine(t, {
    *script() {
      yield { text: "a" };
      yield { wait: release.promise };
    },
  });
  const leaver = new AbortController();
  const leaving = chat({}, { signal: leaver.signal });
  await until(() => engine.running === 1);
  leaver.abort();
  await t.throwsAsync(leaving, { any: true });
  t.like(await next(records), { status: 499, error: "client_closed_request", finishReason: null, completionTokens: 1 });
  const later = new AbortController();
  const stream = await chat({ stream: true }, { signal: later.signal });
  await stream.body!.getReader().read();
  later.abort();
  const record = await next(records);
  t.like(record, { status: 200, error: "client_closed_request", finishReason: null });
  t.true(record.ttftMs! > 0);
});

test("a client that is gone while it sends its body, or that pipelines behind it, is a 499 each", async (t) => {
  const { server, records } = await start(t, {}, [
    route("POST", "/read", async (ctx, { config }) => {
      ctx.body = await readJsonObject(ctx, config);
    }),
    route("GET", "/slow", () => new Promise(() => {})),
  ]);
  const sender = new RawConnection(server.port);
  sender.write(head("POST /read HTTP/1.1", `x-api-key: ${testKey}`, "Content-Length: 10"));
  await until(() => server.parts.heartbeat.openCalls === 1);
  sender.socket.resetAndDestroy();
  await sender.closed;
  t.like(await next(records), { status: 499, path: "/read" });
  const pipeline = new RawConnection(server.port);
  pipeline.write(head("GET /slow HTTP/1.1", `x-api-key: ${testKey}`).repeat(2));
  await until(() => server.parts.heartbeat.openCalls === 2);
  pipeline.socket.destroy();
  t.like(await next(records), { status: 499, path: "/slow" });
  t.like(await next(records), { status: 499, path: "/slow" });
});

test("an error event after a 200 shows as the error", async (t) => {
  const { records, chat } = await startWithEngine(t, {
    *script() {
      yield { text: "a" };
      yield { fail: new Failure("generation_failed", "The engine failed.") };
    },
  });
  t.true((await (await chat({ stream: true })).text()).includes('"code":"generation_failed"'));
  t.like(await next(records), { status: 200, error: "generation_failed", finishReason: null });
});

test("REQUEST_TIMEOUT shows as 504, or as the error of a stream", async (t) => {
  const never = new Promise(() => {});
  const script = function* () {
    yield { text: "a" };
    yield { wait: never };
  };
  const { records, chat } = await startWithEngine(t, { script }, { REQUEST_TIMEOUT: "0.1" });
  await (await chat()).text();
  t.like(await next(records), { status: 504, error: "request_timeout" });
  await (await chat({ stream: true })).text();
  t.like(await next(records), { status: 200, error: "request_timeout" });
});

test("no line holds a query or a key", async (t) => {
  const { server, records } = await start(t, {}, routes);
  await (await fetch(`${server.url}/v1/models?api_key=${testKey}`)).text();
  await (await fetch(`${server.url}/x?key=${testKey}`, { headers: withKey })).text();
  for (const path of ["/v1/models", "/x"]) t.is((await next(records)).path, path);
  await exchange(server.port, head(`GET http://u:p@h/a?${testKey}#x HTTP/1.1`, "Connection: close"));
  t.is((await next(records)).path, "/a");
});

test("with AUTH_ENABLED=false the key id is auth-disabled", async (t) => {
  const keys = new KeyRing("auth-disabled", { requestsPerMinute: 1, tokensPerMinute: 0, concurrentRequests: 0 });
  const { server, records } = await start(t, { keys }, [route("GET", "/ok", ok)]);
  await (await fetch(`${server.url}/ok`)).text();
  t.is((await next(records)).keyId, "auth-disabled");
});
