// The way of a request through the application: who learns what, in which order refusals come, and what is counted.
import { setTimeout as delay } from "node:timers/promises";
import test from "ava";
import type { Handler } from "../src/api/handler.ts";
import { type Route, routes } from "../src/api/routes.ts";
import { loadSecondsLeft } from "../src/api/state-gate.ts";
import { Failure } from "../src/errors.ts";
import { Heartbeat, type ServerState } from "../src/health/heartbeat.ts";
import { readJsonObject } from "../src/http/body.ts";
import { authDisabled, KeyRing } from "../src/keys/key-ring.ts";
import { capturedLog } from "./helpers/captured-log.ts";
import { exchange, head, RawConnection } from "./helpers/raw.ts";
import { jsonOf, startServer, testConfig, testKey, testKeys, withKey } from "./helpers/server.ts";

function heartbeatIn(state: ServerState): Heartbeat {
  const heartbeat = new Heartbeat();
  heartbeat.state = state;
  return heartbeat;
}

const always = Number.MAX_SAFE_INTEGER;

function route(method: "GET" | "POST", path: string, handler: Handler, options: Partial<Route> = {}): Route {
  return { method, path, class: "key", handler, ...options };
}

const ok: Handler = (ctx) => {
  ctx.body = { ok: true };
};

async function codeOf(answer: Response): Promise<string> {
  return (await jsonOf(answer)).error.code;
}

test("every route but the public ones is 401 without a key and with a wrong one, in every state", async (t) => {
  const open = routes.filter((entry) => entry.class === "public").map((entry) => `${entry.method} ${entry.path}`);
  t.deepEqual(open, ["GET /", "GET /api/hello", "GET /ping", "GET /health", "GET /metrics"]);
  for (const state of ["loading", "ready", "draining", "error"] as const) {
    const server = await startServer({ heartbeat: heartbeatIn(state) });
    for (const { method, path, class: kind } of routes) {
      if (kind === "public") continue;
      for (const authorization of [undefined, "Bearer sk-wrong-0123456789abc"]) {
        const headers: Record<string, string> = authorization ? { authorization } : {};
        const answer = await fetch(server.url + path.replace("*", "some"), { method, headers });
        t.is(answer.status, 401, `${method} ${path}`);
        t.is(answer.headers.get("www-authenticate"), "Bearer");
        t.deepEqual(Object.keys((await jsonOf(answer)).error).sort(), ["code", "message", "param", "type"]);
      }
    }
    await server.close();
  }
});

const paths: [method: string, target: string, anonymous: number, known: number][] = [
  ["GET", "/ping", 200, 200],
  ["GET", "/ping?x=1", 200, 200],
  ["GET", "/ping/", 200, 200],
  ["GET", "/ping/?x", 200, 200],
  ["HEAD", "/ping", 200, 200],
  ["GET", "/ping//", 401, 404],
  ["GET", "//ping", 401, 404],
  ["GET", "/PING", 401, 404],
  ["GET", "/%70ing", 401, 404],
  ["GET", "/./ping", 401, 404],
  ["GET", "/x/../ping", 401, 404],
  ["GET", "/ping;x", 401, 404],
  ["GET", "/ping%2f", 401, 404],
  ["GET", "/", 200, 200],
  ["GET", "/?", 200, 200],
  ["HEAD", "/api/hello", 200, 200],
  ["POST", "/ping", 405, 405],
  ["POST", "/", 405, 405],
  ["DELETE", "/health", 405, 405],
  ["GET", "/nothing", 401, 404],
  ["GET", "/v1", 401, 404],
  ["POST", "/v1/models", 401, 405],
  ["GET", "/v1/models", 401, 200],
  ["GET", "/models", 401, 404],
  ["OPTIONS", "/ping", 204, 204],
  ["OPTIONS", "/nothing", 204, 204],
  ["OPTIONS", "*", 204, 204],
];

test("a path is looked up as it stands, but for its query and one slash at the end", async (t) => {
  const table = [...routes.filter(({ class: kind }) => kind === "public"), route("GET", "/v1/models", ok)];
  const server = await startServer({ heartbeat: heartbeatIn("ready") }, table);
  t.teardown(server.close);
  for (const [method, target, anonymous, known] of paths) {
    for (const [lines, status] of [
      [[], anonymous],
      [[`x-api-key: ${testKey}`], known],
    ] as const) {
      const connection = new RawConnection(server.port);
      connection.write(head(`${method} ${target} HTTP/1.1`, "Connection: close", ...lines));
      await connection.closed;
      t.is(Number(connection.received.slice(9, 12)), status, `${method} ${target} ${lines}`);
    }
  }
});

test("a key in the query opens nothing", async (t) => {
  const server = await startServer({ heartbeat: heartbeatIn("ready") });
  t.teardown(server.close);
  for (const name of ["api_key", "key", "access_token", "authorization"]) {
    t.is((await fetch(`${server.url}/v1/models?${name}=${testKey}`)).status, 401);
  }
});

test("405 names the methods in Allow, 404 the endpoint that is not there", async (t) => {
  const server = await startServer({ heartbeat: heartbeatIn("ready") }, [
    route("GET", "/a", ok),
    route("POST", "/a", ok),
  ]);
  t.teardown(server.close);
  const wrong = await fetch(`${server.url}/a`, { method: "DELETE", headers: withKey });
  t.is(wrong.status, 405);
  t.is(wrong.headers.get("allow"), "GET, HEAD, POST");
  t.deepEqual(await wrong.json(), {
    error: { message: "Use GET, HEAD, POST.", type: "invalid_request_error", param: null, code: "method_not_allowed" },
  });
  const missing = await fetch(`${server.url}/b?key=secret`, { method: "POST", headers: withKey });
  t.is(missing.status, 404);
  t.is((await jsonOf(missing)).error.message, "No such endpoint: POST /b.");
});

test("a path with a public and a closed method is closed", async (t) => {
  const table = [route("GET", "/a", ok, { class: "public" }), route("POST", "/a", ok)];
  const server = await startServer({ heartbeat: heartbeatIn("ready") }, table);
  t.teardown(server.close);
  for (const method of ["GET", "POST", "DELETE"]) t.is((await fetch(`${server.url}/a`, { method })).status, 401);
});

test("refusals come in order: head, key, path, method, state, body", async (t) => {
  const heartbeat = heartbeatIn("loading");
  const server = await startServer({ heartbeat }, [
    route("POST", "/a", async (ctx, { config }) => {
      ctx.body = await readJsonObject(ctx, config);
    }),
  ]);
  t.teardown(server.close);
  const flaws = {
    head: ["Expect: x"],
    encoding: ["Content-Encoding: gzip"],
    body: ["Content-Length: 2"],
  };
  const send = async (requestLine: string, ...lines: string[]) =>
    (await exchange(server.port, `${head(requestLine, "Connection: close", ...lines)}[]`)).status;
  const key = `x-api-key: ${testKey}`;
  t.is(await send("GET /b HTTP/1.1", ...flaws.head, ...flaws.encoding, ...flaws.body), 417);
  t.is(await send("GET /b HTTP/1.1", ...flaws.encoding, ...flaws.body), 401);
  t.is(await send("GET /b HTTP/1.1", key, ...flaws.encoding, ...flaws.body), 404);
  t.is(await send("GET /a HTTP/1.1", key, ...flaws.encoding, ...flaws.body), 405);
  t.is(await send("POST /a HTTP/1.1", key, ...flaws.encoding, ...flaws.body), 503);
  heartbeat.state = "ready";
  t.is(await send("POST /a HTTP/1.1", key, ...flaws.encoding, ...flaws.body), 415);
  t.is(await send("POST /a HTTP/1.1", key, ...flaws.body), 400);
});

test("while the model loads, while the server drains and when the engine is lost, calls are 503 with Retry-After", async (t) => {
  const heartbeat = heartbeatIn("loading");
  const server = await startServer({ heartbeat, config: testConfig({ DRAIN_TIMEOUT: "20" }) });
  t.teardown(server.close);
  const call = async () => {
    const answer = await fetch(`${server.url}/v1/models`, { headers: withKey });
    t.is(answer.status, 503);
    const { error } = await jsonOf(answer);
    t.is(error.type, "server_error");
    const seconds = answer.headers.get("retry-after");
    t.true(error.message.endsWith(`, try again in ${seconds}s.`), error.message);
    return [error.code, Number(seconds)];
  };
  t.deepEqual(await call(), ["loading", 5]);
  heartbeat.state = "draining";
  t.deepEqual(await call(), ["draining", 20]);
  heartbeat.state = "error";
  t.deepEqual(await call(), ["draining", 5]);
});

test("the time to wait for a load follows its progress, within 1 to 60 s", (t) => {
  t.is(loadSecondsLeft(0, 10_000), 5);
  t.is(loadSecondsLeft(Number.NaN, 10_000), 5);
  t.is(loadSecondsLeft(0.5, 10_000), 10);
  t.is(loadSecondsLeft(0.001, 10_000), 60);
  t.is(loadSecondsLeft(1, 10_000), 1);
});

test("a request id is echoed when well-formed and replaced when not, on refusals too", async (t) => {
  const server = await startServer({ heartbeat: heartbeatIn("ready") });
  t.teardown(server.close);
  const idFor = async (sent: string, path = "/ping") =>
    (await fetch(server.url + path, { headers: { "x-request-id": sent } })).headers.get("x-request-id") ?? "";
  for (const id of ["a", "A-b_c.9", "x".repeat(128)]) t.is(await idFor(id), id);
  for (const id of ["x".repeat(129), "a b", "a,b", "ä", "<x>"]) t.regex(await idFor(id), /^req_[0-9a-f]{32}$/);
  t.is(await idFor("mine", "/nothing"), "mine");
  t.not(await idFor(""), await idFor(""));
});

test("an answer names no software", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const { headers } = await fetch(`${server.url}/nothing`);
  t.is(headers.get("server"), null);
  t.is(headers.get("x-powered-by"), null);
});

test("an unknown error is internal_error with the request's id, and only the log knows more", async (t) => {
  const { log, text } = capturedLog();
  const server = await startServer({ heartbeat: heartbeatIn("ready"), log }, [
    route("GET", "/a", (ctx) => {
      ctx.set("Content-Length", "1");
      throw new Error("secret detail");
    }),
  ]);
  t.teardown(server.close);
  const answer = await fetch(`${server.url}/a`, { headers: { ...withKey, "x-request-id": "id-1" } });
  t.is(answer.status, 500);
  t.is(answer.headers.get("content-type"), "application/json; charset=utf-8");
  t.is(
    await answer.text(),
    '{"error":{"message":"Internal error, request id-1.","type":"server_error","param":null,"code":"internal_error"}}',
  );
  t.true(text().includes("secret detail"));
  t.false(text().includes(testKey));
});

test("a HEAD request gets the head of the refusal and no body", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write(head("HEAD /nothing HTTP/1.1", "Connection: close"));
  await connection.closed;
  t.true(connection.received.startsWith("HTTP/1.1 401 "));
  t.true(connection.received.endsWith("\r\n\r\n"));
});

test("a failure after the head cuts the answer and writes nothing over it", async (t) => {
  const { log, lines } = capturedLog();
  const server = await startServer({ heartbeat: heartbeatIn("ready"), log }, [
    route("GET", "/a", (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200, { "Content-Type": "text/event-stream" });
      ctx.res.write("data: 1\n\n");
      throw new Failure("generation_failed", "The engine failed.");
    }),
  ]);
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write(head("GET /a HTTP/1.1", `x-api-key: ${testKey}`));
  await connection.closed;
  t.true(connection.received.startsWith("HTTP/1.1 200 "));
  t.false(connection.received.includes("error"));
  t.true(lines().some(({ level }) => level === "error"));
});

test("the signal of a call is aborted when its client leaves, and not when its answer ended well", async (t) => {
  const signals: AbortSignal[] = [];
  let entered = () => {};
  let toEnter = 0;
  const server = await startServer({ heartbeat: heartbeatIn("ready") }, [
    route("GET", "/fast", (ctx) => {
      signals.push(ctx.state.signal);
      ctx.body = { ok: true };
    }),
    route("GET", "/slow", (ctx) => {
      signals.push(ctx.state.signal);
      toEnter -= 1;
      if (toEnter === 0) entered();
      return new Promise((_, reject) =>
        ctx.state.signal.addEventListener("abort", () => reject(ctx.state.signal.reason)),
      );
    }),
  ]);
  t.teardown(server.close);
  await (await fetch(`${server.url}/fast`, { headers: withKey })).text();
  // Clients reset, close or half-close; with one request, and with a second one behind it whose turn to be answered never comes.
  for (const leave of ["resetAndDestroy", "destroy", "end"] as const) {
    for (const requests of [1, 2]) {
      const inHandler = new Promise<void>((resolve) => {
        entered = resolve;
        toEnter = requests;
      });
      const connection = new RawConnection(server.port);
      connection.write(head("GET /slow HTTP/1.1", `x-api-key: ${testKey}`).repeat(requests));
      await inHandler;
      connection.socket[leave]();
    }
  }
  const { heartbeat } = server.parts;
  while (heartbeat.idleSeconds(always) === 0) await new Promise(setImmediate);
  t.deepEqual(
    signals.map(({ aborted, reason }) => aborted && reason.name),
    [false, ...Array(9).fill("ClientLeft")],
  );
});

test("when open calls are cut, each is answered with the reason: one that works, and one that still sends its body", async (t) => {
  const cut = new AbortController();
  let inHandlers = 0;
  const server = await startServer({ heartbeat: heartbeatIn("ready"), cut: cut.signal }, [
    route("POST", "/work", async ({ state: { signal } }) => {
      inHandlers += 1;
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    }),
    route("POST", "/read", async (ctx, { config }) => {
      inHandlers += 1;
      ctx.body = await readJsonObject(ctx, config);
    }),
  ]);
  t.teardown(server.close);
  const calls = ["/work", "/read"].map((path) =>
    exchange(server.port, head(`POST ${path} HTTP/1.1`, `x-api-key: ${testKey}`, "Content-Length: 5")),
  );
  while (inHandlers < 2) await new Promise(setImmediate);
  cut.abort(new Failure("draining", "The server is shutting down, try again in 1s."));
  for (const answer of await Promise.all(calls)) {
    t.is(answer.status, 503);
    t.is(JSON.parse(answer.body).error.code, "draining");
  }
});

test("activity is a call with an accepted credential, from its arrival to its last byte, and nothing else", async (t) => {
  let release = () => {};
  const heartbeat = heartbeatIn("ready");
  const opened: number[] = [];
  const { callOpened } = heartbeat;
  heartbeat.callOpened = () => {
    opened.push(1);
    callOpened.call(heartbeat);
  };
  const server = await startServer({ heartbeat }, [
    ...routes,
    route("GET", "/slow", async (ctx) => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      ctx.body = { ok: true };
    }),
  ]);
  t.teardown(server.close);
  for (const path of ["/ping", "/health", "/nothing", "/v1/models"]) await (await fetch(server.url + path)).text();
  await fetch(`${server.url}/slow`, { method: "OPTIONS" });
  t.is(opened.length, 0);
  t.true(heartbeat.idleSeconds(always) > 0);
  const slow = fetch(`${server.url}/slow`, { headers: withKey });
  while (opened.length === 0) await new Promise(setImmediate);
  t.is(heartbeat.idleSeconds(always), 0);
  release();
  await (await slow).text();
  while (heartbeat.idleSeconds(always) === 0) await new Promise(setImmediate);
  await (await fetch(`${server.url}/nothing`, { headers: withKey })).text();
  t.is(opened.length, 2);
});

test("with AUTH_ENABLED=false every call is let in as auth-disabled", async (t) => {
  const keys = new KeyRing("auth-disabled", { requestsPerMinute: 1, tokensPerMinute: 0, concurrentRequests: 0 });
  const server = await startServer({ heartbeat: heartbeatIn("ready"), keys }, [
    route("GET", "/who", (ctx) => {
      ctx.body = ctx.state.identity;
    }),
  ]);
  t.teardown(server.close);
  t.deepEqual(await (await fetch(`${server.url}/who`)).json(), authDisabled);
  t.is((await fetch(`${server.url}/nothing`)).status, 404);
});

test("without any key every call is 401 and the probes still answer", async (t) => {
  const server = await startServer({ heartbeat: heartbeatIn("ready"), keys: testKeys("") });
  t.teardown(server.close);
  const answer = await fetch(`${server.url}/v1/models`, { headers: withKey });
  t.is(answer.status, 401);
  t.is(await codeOf(answer), "invalid_api_key");
  t.is((await fetch(`${server.url}/ping`)).status, 200);
});

test("the counters tell what happened: successes, errors, refusals, and the bytes of the bodies", async (t) => {
  const heartbeat = heartbeatIn("ready");
  let departed = () => {};
  const server = await startServer({ heartbeat }, [
    ...routes.filter(({ class: kind }) => kind === "public"),
    route("GET", "/ok", ok),
    route("GET", "/fails", () => {
      throw new Error("broken");
    }),
    route("GET", "/refuses", () => {
      throw new Failure("invalid_value", "No.");
    }),
    route("POST", "/engine-refuses", () => Promise.reject(new Failure("invalid_value", "No.")), { engine: true }),
    route("POST", "/engine-fails", () => Promise.reject(new Failure("generation_failed", "No.")), { engine: true }),
    route(
      "POST",
      "/stream",
      (ctx) => {
        ctx.respond = false;
        ctx.state.record.leftQueue(250);
        ctx.res.writeHead(200);
        ctx.res.write("äö");
        ctx.state.record.failed(new Failure("generation_failed", "No."));
        ctx.res.end("u");
      },
      { engine: true },
    ),
    route("GET", "/slow", (ctx) => {
      ctx.state.signal.addEventListener("abort", () => departed());
      return new Promise(() => {});
    }),
  ]);
  t.teardown(server.close);
  const metrics = async () => (await jsonOf(await fetch(`${server.url}/health`))).gateway.metrics;
  let bytes = 0;
  const call = async (method: string, path: string, headers: Record<string, string> = withKey) => {
    bytes += (await (await fetch(server.url + path, { method, headers })).arrayBuffer()).byteLength;
  };
  await call("GET", "/ok");
  await call("GET", "/refuses");
  await call("GET", "/fails");
  await call("POST", "/engine-refuses");
  await call("POST", "/engine-fails");
  await call("POST", "/stream");
  await call("GET", "/missing");
  await call("GET", "/ok", {});
  await call("HEAD", "/ok");
  const left = new Promise<void>((resolve) => {
    departed = resolve;
  });
  const leaver = new AbortController();
  const leaving = fetch(`${server.url}/slow`, { headers: withKey, signal: leaver.signal });
  while ((await metrics()).requests_total < 7) await delay(1);
  leaver.abort();
  await t.throwsAsync(leaving, { any: true });
  await left;
  while (heartbeat.idleSeconds(always) === 0) await new Promise(setImmediate);
  const { uptime_seconds, ...counted } = await metrics();
  t.true(Number.isInteger(uptime_seconds));
  t.deepEqual(counted, {
    requests_total: 7,
    requests_success: 3,
    requests_error: 3,
    requests_active: 0,
    requests_authenticated: 9,
    requests_unauthorized: 1,
    bytes_sent: bytes,
    queue_depth: 0,
    queue_rejections: 0,
    queue_wait_seconds_total: 0.25,
  });
});
