// The health port as a prober sees it: a real worker thread on a free port of the loopback, the heartbeat written by the test.
import { mkdtempSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { startHealth } from "../../src/health/start.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { ask, startNode, until } from "../helpers/process.ts";

type Options = { livenessStallSeconds?: number; headTimeoutMs?: number };

async function listen(t: ExecutionContext, options: Options = {}) {
  const heartbeat = new Heartbeat();
  const health = await startHealth({
    host: "127.0.0.1",
    port: 0,
    heartbeat,
    livenessStallSeconds: 30,
    log: silentLog(),
    ...options,
  });
  t.teardown(() => health.stop());
  const statusOf = async (path: string) => (await ask(health.port, path)).status;
  return { heartbeat, port: health.port, statusOf };
}

/** Sends bytes and returns all that comes back until the other side closes. */
function talk(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let answer = "";
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

test("any other path is an empty 200 in every state", async (t) => {
  const { heartbeat, port } = await listen(t);
  for (const state of ["loading", "ready", "draining", "error"] as const) {
    heartbeat.state = state;
    for (const path of ["/", "/health", "/livezz", "/a/b?c=d"]) {
      const { status, headers, body } = await ask(port, path);
      t.deepEqual([status, headers["content-type"], headers["content-length"], body], [200, "text/plain", "0", ""]);
      t.is(headers.server, undefined);
    }
  }
});

test("/readyz is 200 in state ready alone, /startupz from the first time it was ready", async (t) => {
  const { heartbeat, statusOf } = await listen(t);
  const both = async () => [await statusOf("/readyz"), await statusOf("/startupz")];
  t.deepEqual(await both(), [503, 503]);
  heartbeat.state = "ready";
  t.deepEqual(await both(), [200, 200]);
  heartbeat.state = "draining";
  t.deepEqual(await both(), [503, 200]);
  heartbeat.state = "error";
  t.deepEqual(await both(), [503, 200]);
});

test("probes answer with status and reason, to GET and HEAD, whatever the query and one trailing slash", async (t) => {
  const { port } = await listen(t);
  for (const path of ["/livez", "/livez?verbose", "/livez/", "/readyz", "/startupz"]) {
    const got = await ask(port, path);
    const body = JSON.parse(got.body) as Record<string, string>;
    t.deepEqual(Object.keys(body), ["status", "reason"]);
    t.is(body.status, got.status === 200 ? "ok" : "unavailable");
    const head = await ask(port, path, { method: "HEAD" });
    t.deepEqual([head.status, head.body], [got.status, ""]);
    t.is(head.headers["content-length"], got.headers["content-length"]);
  }
});

test("/status tells the shared numbers", async (t) => {
  const { heartbeat, port } = await listen(t);
  const status = async () => JSON.parse((await ask(port, "/status")).body) as Record<string, unknown>;
  heartbeat.loadProgress = 0.25;
  const loading = await status();
  t.deepEqual(Object.keys(loading), [
    "state",
    "loadProgress",
    "uptimeSeconds",
    "heartbeatAgeMs",
    "activeRequests",
    "queuedRequests",
    "lastTokenAgeMs",
    "idleSeconds",
  ]);
  t.like(loading, { state: "loading", loadProgress: 0.25, activeRequests: 0, lastTokenAgeMs: null, idleSeconds: 0 });
  heartbeat.state = "ready";
  heartbeat.setRequests(3, 2);
  heartbeat.step(1);
  heartbeat.callOpened();
  const busy = await status();
  t.like(busy, { state: "ready", loadProgress: 1, activeRequests: 3, queuedRequests: 2, idleSeconds: 0 });
  t.true((busy.lastTokenAgeMs as number) >= 0);
});

test("other methods are 405", async (t) => {
  const { port } = await listen(t);
  for (const method of ["POST", "OPTIONS", "DELETE"]) {
    const { status, headers } = await ask(port, "/livez", { method, body: "x", headers: { "content-length": "1" } });
    t.deepEqual([status, headers.allow], [405, "GET, HEAD"]);
  }
  t.regex(await talk(port, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), /^HTTP\/1\.1 405 /);
});

test("broken HTTP is answered, never closed in silence", async (t) => {
  const { port } = await listen(t);
  t.regex(await talk(port, "nonsense\r\n\r\n"), /^HTTP\/1\.1 400 /);
  t.regex(await talk(port, `GET / HTTP/1.1\r\nHost: a\r\nx: ${"y".repeat(70_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  t.regex(await talk(port, "GET /livez HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"), /^HTTP\/1\.1 417 /);
  t.regex(await talk(port, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"), /^HTTP\/1\.1 200 /);
});

test("a head that does not come in time is 408, also when nothing came at all", async (t) => {
  const { port } = await listen(t, { headTimeoutMs: 300 });
  t.regex(await talk(port, "GET /livez HT"), /^HTTP\/1\.1 408 /);
  t.regex(await talk(port, ""), /^HTTP\/1\.1 408 /);
});

test("100 idle connections do not block a probe, and are closed in the end", async (t) => {
  const { port, statusOf } = await listen(t, { headTimeoutMs: 1000 });
  const idle = Array.from({ length: 100 }, () => connect(port, "127.0.0.1"));
  await Promise.all(idle.map((socket) => new Promise<void>((done) => socket.once("connect", done))));
  t.is(await statusOf("/livez"), 200);
  await Promise.all(idle.map((socket) => new Promise<void>((done) => socket.resume().once("close", () => done()))));
});

test("/livez turns 503 when requests run and the engine makes no step, and recovers with the next one", async (t) => {
  const { heartbeat, port, statusOf } = await listen(t, { livenessStallSeconds: 0.3 });
  const beating = setInterval(() => heartbeat.beat(), 20);
  t.teardown(() => clearInterval(beating));
  const stalled = async () => /"unavailable".*engine has made no step/.test((await ask(port, "/livez")).body);
  heartbeat.setRequests(1, 0);
  await until(stalled);
  const stepping = setInterval(() => heartbeat.step(0), 20);
  await until(async () => (await statusOf("/livez")) === 200);
  clearInterval(stepping);
  await until(stalled);
  // An idle engine makes no steps and is well.
  heartbeat.setRequests(0, 0);
  await until(async () => (await statusOf("/livez")) === 200);
  t.false(await stalled());
});

test("/livez answers while the main thread is blocked, turns 503 when that lasts, and recovers", async (t) => {
  const fixture = fileURLToPath(new URL("./blocking-main.js", import.meta.url));
  const release = join(mkdtempSync(join(tmpdir(), "health-")), "release");
  const child = startNode(t, [fixture, "4"]);
  const port = Number((await child.waitFor(/port (\d+)/))[1]);
  child.writeLine(`block ${release}`);
  await child.waitFor(/blocked/);
  const durations: number[] = [];
  for (let count = 0; count < 10; count += 1) {
    const began = performance.now();
    t.is((await ask(port, "/livez")).status, 200);
    durations.push(performance.now() - began);
  }
  t.true(Math.min(...durations) < 50, `fastest of 10 probes: ${Math.min(...durations)} ms`);
  await until(async () => (await ask(port, "/livez")).status === 503);
  t.regex((await ask(port, "/livez")).body, /the main thread has not answered for \d/);
  writeFileSync(release, "");
  await until(async () => (await ask(port, "/livez")).status === 200);
});
