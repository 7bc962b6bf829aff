// The failures of /v1/messages that come from limits and from the server's state, as the official client meets them: status, type,
// class, and what says which request it was and when to come back.
import Anthropic, { APIError, InternalServerError, RateLimitError } from "@anthropic-ai/sdk";
import test, { type ExecutionContext } from "ava";
import { Quota } from "../../src/admission/quota.ts";
import { createMockEngine, type MockStep } from "../../src/engine/mock-engine.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { CountingStore } from "../helpers/admission.ts";
import { FakeClock } from "../helpers/fake-clock.ts";
import { gate } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { startServer, testConfig, testKey, testKeys } from "../helpers/server.ts";

const hello = { model: "any", max_tokens: 100, messages: [{ role: "user" as const, content: "Hello" }] };

type Options = { env?: Record<string, string>; limits?: string; script?: () => Iterable<MockStep> };

async function start(t: ExecutionContext, { env = {}, limits = "99", script }: Options = {}) {
  const engine = createMockEngine({ ...(script && { script }), maxConcurrentRequests: 1 });
  const quota = new Quota(new CountingStore(), new FakeClock());
  const keys = testKeys(`test:${testKey}:${limits}`);
  const server = await startServer({ engine: () => engine, quota, keys, config: testConfig(env) });
  t.teardown(async () => {
    await server.close();
    await engine.dispose();
  });
  const client = new Anthropic({ apiKey: testKey, baseURL: server.url, maxRetries: 0 });
  return { engine, server, client };
}

type Expected = { status: number; type: string; code: string; retryAfter: boolean };

function assertError(t: ExecutionContext, error: unknown, { status, type, code, retryAfter }: Expected): void {
  t.true(error instanceof APIError);
  const { headers, requestID, error: body, ...own } = error as APIError;
  t.like(own, { status, type });
  t.is(headers?.get("request-id"), requestID);
  t.is(headers?.get("x-request-id"), requestID);
  t.like(body, { type: "error", error: { type, code, param: null }, request_id: requestID });
  t.is(/^[1-9]\d*$/.test(headers?.get("retry-after") ?? ""), retryAfter);
}

const failed = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => undefined,
    (error) => error,
  );

test("a body that is too large is 413 request_too_large", async (t) => {
  const { client } = await start(t, { env: { MAX_REQUEST_BODY_SIZE: "1024" } });
  const messages = [{ role: "user" as const, content: "x".repeat(2000) }];
  const error = await failed(client.messages.create({ ...hello, messages }));
  assertError(t, error, { status: 413, type: "request_too_large", code: "payload_too_large", retryAfter: false });
});

test("each used-up quota is 429 rate_limit_error and says when to come back", async (t) => {
  const door = gate();
  const { client, engine } = await start(t, { limits: "2/0/1", script: () => [{ wait: door.promise }] });
  const running = client.messages.create(hello);
  await until(() => engine.running === 1);
  const rate = { status: 429, type: "rate_limit_error", retryAfter: true };
  const second = await failed(client.messages.create(hello));
  t.true(second instanceof RateLimitError);
  assertError(t, second, { ...rate, code: "concurrency_limit_exceeded" });
  door.open();
  await running;
  // The place is free when the last byte is out.
  await until(async () => (await failed(client.messages.create(hello))) === undefined);
  const third = await failed(client.messages.create(hello));
  t.true(third instanceof RateLimitError);
  assertError(t, third, { ...rate, code: "rate_limit_exceeded" });
});

for (const state of ["loading", "draining"] as const) {
  test(`${state} is 503 overloaded_error`, async (t) => {
    const heartbeat = new Heartbeat();
    heartbeat.state = state;
    const server = await startServer({ heartbeat });
    t.teardown(server.close);
    const client = new Anthropic({ apiKey: testKey, baseURL: server.url, maxRetries: 0 });
    const error = await failed(client.messages.create(hello));
    t.true(error instanceof InternalServerError);
    assertError(t, error, { status: 503, type: "overloaded_error", code: state, retryAfter: true });
  });
}

for (const [code, env] of [
  ["queue_full", { MAX_QUEUED_TOKENS: "15" }],
  ["queue_timeout", { QUEUE_TIMEOUT: "0.05" }],
] as const) {
  test(`${code} is Anthropic's 529`, async (t) => {
    const door = gate();
    const { client, engine, server } = await start(t, { env, script: () => [{ wait: door.promise }] });
    const running = client.messages.create(hello);
    await until(() => engine.running === 1);
    const waiting = code === "queue_full" ? [client.messages.create(hello)] : [];
    await until(() => server.parts.gate.waiting === waiting.length);
    for (const stream of [false, true]) {
      const error = await failed(client.messages.create({ ...hello, stream }));
      t.true(error instanceof InternalServerError);
      assertError(t, error, { status: 529, type: "overloaded_error", code, retryAfter: true });
    }
    door.open();
    await Promise.all([running, ...waiting]);
  });
}

test("a body that stalls is 408 timeout_error, an answer that does not begin in time 504", async (t) => {
  const door = gate();
  const env = { CLIENT_BODY_TIMEOUT: "0.05", REQUEST_TIMEOUT: "0.05" };
  const { client, server } = await start(t, { env, script: () => [{ wait: door.promise }] });
  const late = await failed(client.messages.create(hello));
  t.true(late instanceof InternalServerError);
  assertError(t, late, { status: 504, type: "timeout_error", code: "request_timeout", retryAfter: false });
  door.open();
  const connection = new RawConnection(server.port);
  connection.write(head("POST /v1/messages HTTP/1.1", `x-api-key: ${testKey}`, "Content-Length: 10"));
  await connection.closed;
  const { status, headers, body } = connection.answers()[0]!;
  t.is(status, 408);
  t.is(headers["request-id"], headers["x-request-id"]);
  const expected = { type: "error", error: { type: "timeout_error" }, request_id: headers["request-id"] };
  t.like(JSON.parse(body), expected);
});
