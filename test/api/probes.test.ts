// What the public probes say in every state, byte for byte where clients and dashboards read them.
import test from "ava";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { exchange, head } from "../helpers/raw.ts";
import { jsonOf, startServer, testConfig } from "../helpers/server.ts";

test("/ping is 204 while loading and 200 afterwards, with an empty body", async (t) => {
  const heartbeat = new Heartbeat();
  const server = await startServer({ heartbeat });
  t.teardown(server.close);
  for (const [state, status] of [
    ["loading", 204],
    ["ready", 200],
    ["draining", 200],
    ["error", 200],
  ] as const) {
    heartbeat.state = state;
    for (const method of ["GET", "HEAD"]) {
      const answer = await fetch(`${server.url}/ping`, { method });
      t.is(answer.status, status, state);
      t.is(await answer.text(), "");
      t.is(answer.headers.get("content-type"), null);
    }
  }
});

test("/ and /api/hello are an empty 200 in every state", async (t) => {
  const heartbeat = new Heartbeat();
  const server = await startServer({ heartbeat });
  t.teardown(server.close);
  for (const state of ["loading", "ready", "draining", "error"] as const) {
    heartbeat.state = state;
    for (const path of ["/", "/api/hello"]) {
      for (const method of ["GET", "HEAD"]) {
        const answer = await fetch(server.url + path, { method });
        t.is(answer.status, 200);
        t.is(await answer.text(), "");
      }
    }
  }
});

test("/health is 200 in every state, with the keys in their order, indented by 2", async (t) => {
  const heartbeat = new Heartbeat();
  const config = testConfig({ MAX_CONCURRENT_REQUESTS: "8", MAX_QUEUE_SIZE: "32" });
  const server = await startServer({ heartbeat, config });
  t.teardown(server.close);
  heartbeat.loadProgress = 0.5;
  const answer = await exchange(server.port, head("GET /health HTTP/1.1", "Connection: close"));
  t.is(answer.status, 200);
  t.is(answer.headers["content-type"], "application/json; charset=utf-8");
  const uptime = JSON.parse(answer.body).gateway.metrics.uptime_seconds;
  t.is(
    answer.body,
    `{
  "status": "loading",
  "code": 503,
  "backend": {
    "status": "loading",
    "load_progress": 0.5
  },
  "gateway": {
    "status": "ok",
    "metrics": {
      "requests_total": 0,
      "requests_success": 0,
      "requests_error": 0,
      "requests_active": 0,
      "requests_authenticated": 0,
      "requests_unauthorized": 0,
      "bytes_sent": 0,
      "queue_depth": 0,
      "queue_rejections": 0,
      "queue_wait_seconds_total": 0,
      "uptime_seconds": ${uptime}
    }
  },
  "queue": {
    "max_concurrent": 8,
    "max_queue_size": 32,
    "active": 0,
    "waiting": 0
  },
  "authentication": {
    "enabled": true
  }
}`,
  );
  for (const [state, status, code] of [
    ["ready", "ok", 200],
    ["draining", "draining", 503],
    ["error", "error", 503],
  ] as const) {
    heartbeat.state = state;
    heartbeat.setRequests(3, 2);
    const other = await fetch(`${server.url}/health`);
    t.is(other.status, 200);
    const body = await jsonOf(other);
    t.like(body, { status, code, queue: { active: 3, waiting: 2 } });
    t.deepEqual(body.backend, { status });
    t.like(body.gateway.metrics, { requests_active: 3, queue_depth: 2 });
  }
});

test("HEAD /health has the length of the body and no body", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const answer = await fetch(`${server.url}/health`, { method: "HEAD" });
  t.is(answer.status, 200);
  t.true(Number(answer.headers.get("content-length")) > 300);
  t.is(await answer.text(), "");
});

test("/health says when nobody is asked for a key", async (t) => {
  const keys = new KeyRing("auth-disabled", { requestsPerMinute: 1, tokensPerMinute: 0, concurrentRequests: 0 });
  const server = await startServer({ keys });
  t.teardown(server.close);
  t.deepEqual((await jsonOf(await fetch(`${server.url}/health`))).authentication, { enabled: false });
});
