// Cross-origin headers (CONTRACT.md section 4.4): who gets them, on which answers, and what they say.
import type { IncomingHttpHeaders } from "node:http";
import test from "ava";
import type { Handler } from "../../src/api/handler.ts";
import type { Route } from "../../src/api/routes.ts";
import { loadConfig } from "../../src/config.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { corsPolicy } from "../../src/http/cors.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { exchange, head } from "../helpers/raw.ts";
import { startServer, testConfig, withKey } from "../helpers/server.ts";

const page = "https://app.example";

const allowOf = (origins: string[], headers: IncomingHttpHeaders) =>
  corsPolicy(origins)(headers)["Access-Control-Allow-Origin"];

test("a listed origin is matched exactly, whatever slash ends the entry", (t) => {
  const origins = ["https://app.example/", "http://localhost:3000"];
  t.is(allowOf(origins, { origin: page }), page);
  t.is(allowOf(origins, { origin: "http://localhost:3000" }), "http://localhost:3000");
  const attacks = [
    "https://app.example.evil.example",
    "https://evil-app.example",
    "https://evilapp.example",
    "https://app.example:8443",
    "https://sub.app.example",
    "http://app.example",
    "HTTPS://APP.EXAMPLE",
    "https://app.example//",
    "https://app.example https://evil.example",
    "null",
    "*",
    "",
  ];
  for (const origin of attacks) t.is(allowOf(origins, { origin }), undefined, origin);
});

test("any * in the list allows every origin, but not one over 2048 bytes", (t) => {
  const origins = [page, "*"];
  t.is(allowOf(origins, { origin: "https://other.example" }), "*");
  const origin = (bytes: number) => `https://${"a".repeat(bytes - 8)}`;
  t.is(allowOf(origins, { origin: origin(2048) }), "*");
  t.is(allowOf(origins, { origin: origin(2049) }), undefined);
  t.is(allowOf([origin(2049)], { origin: origin(2049) }), undefined);
});

test("an allowed origin learns methods, headers, how long that holds and what it may read; no credentials", (t) => {
  t.deepEqual(corsPolicy([page])({ origin: page }), {
    Vary: "Origin",
    "Access-Control-Allow-Origin": page,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, x-api-key, x-request-id",
    "Access-Control-Max-Age": "86400",
    "Access-Control-Expose-Headers":
      "x-request-id, request-id, x-ignored-parameters, retry-after, retry-after-ms, " +
      "x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, " +
      "x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens",
  });
});

test("a list says Vary also to those it refuses; * and off never do", (t) => {
  t.deepEqual(corsPolicy([page])({ origin: "https://evil.example" }), { Vary: "Origin" });
  t.deepEqual(corsPolicy([page])({}), { Vary: "Origin" });
  t.is(corsPolicy(["*"])({ origin: page }).Vary, undefined);
  t.deepEqual(corsPolicy([])({ origin: page }), {});
});

test("the headers a preflight asks for are echoed when each of them is a name, else the usual ones", (t) => {
  const allowed = (requested: string) =>
    corsPolicy([page])({ origin: page, "access-control-request-headers": requested })["Access-Control-Allow-Headers"];
  const stainless = "authorization,content-type,x-stainless-arch,x-stainless-retry-count";
  t.is(allowed(stainless), stainless.replaceAll(",", ", "));
  t.is(allowed(" x-a ,, x-b "), "x-a, x-b");
  const usual = "Authorization, Content-Type, x-api-key, x-request-id";
  for (const hostile of ["", " ", "x a", "x-a: b", "x-a\u00e4", "x-a, <script>", "x-a;q=1"]) {
    t.is(allowed(hostile), usual, hostile);
  }
});

test("an entry without a scheme is a warning", (t) => {
  const warningsFor = (CORS_ORIGINS: string) => loadConfig({ DATA_DIR: "/tmp", CORS_ORIGINS }).warnings;
  t.regex(warningsFor("app.example,https://ok.example")[0]!, /CORS_ORIGINS: "app\.example" names no scheme/);
  t.deepEqual(warningsFor("*,https://ok.example,http://localhost:3000"), []);
});

function route(method: "GET" | "POST", path: string, handler: Handler, options: Partial<Route> = {}): Route {
  return { method, path, class: "key", handler, ...options };
}

const ok: Handler = (ctx) => {
  ctx.body = { ok: true };
};

const table = [
  route("GET", "/ok", ok),
  route("GET", "/limited", () => {
    throw new Failure("rate_limit_exceeded", "No.", { headers: { "Retry-After": "1" } });
  }),
  route("GET", "/broken", () => {
    throw new Error("broken");
  }),
  route("GET", "/open", ok, { class: "public" }),
];

test("every answer with a readable head carries them: successes, preflights and every kind of refusal", async (t) => {
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const server = await startServer({ heartbeat, config: testConfig({ CORS_ORIGINS: page }) }, table);
  t.teardown(server.close);
  const ask = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(server.url + path, { method, headers: { origin: page, ...headers } });
    t.is(answer.headers.get("access-control-allow-origin"), page, `${method} ${path}`);
    t.is(answer.headers.get("vary"), "Origin");
    t.truthy(answer.headers.get("access-control-expose-headers"));
    t.is(answer.headers.get("access-control-allow-credentials"), null);
    return answer.status;
  };
  t.is(await ask("GET", "/ok", withKey), 200);
  t.is(await ask("HEAD", "/ok", withKey), 200);
  t.is(await ask("GET", "/open"), 200);
  t.is(await ask("OPTIONS", "/ok", { "access-control-request-method": "GET" }), 204);
  t.is(await ask("OPTIONS", "/nothing"), 204);
  t.is(await ask("GET", "/ok"), 401);
  t.is(await ask("GET", "/nothing", withKey), 404);
  t.is(await ask("POST", "/ok", withKey), 405);
  t.is(await ask("GET", "/limited", withKey), 429);
  t.is(await ask("GET", "/broken", withKey), 500);
  heartbeat.state = "draining";
  t.is(await ask("GET", "/ok", withKey), 503);
  const refusals: [string, number][] = [
    [head(`GET /${"x".repeat(9000)} HTTP/1.1`, `Origin: ${page}`), 414],
    [head("GET /ok HTTP/1.1", `Origin: ${page}`, `a: ${"x".repeat(9000)}`), 431],
    [head("GET /ok HTTP/1.1", `Origin: ${page}`, "Expect: x"), 417],
    [`GET /ok HTTP/1.1\r\nOrigin: ${page}\r\n\r\n`, 400],
  ];
  for (const [bytes, status] of refusals) {
    const answer = await exchange(server.port, bytes);
    t.is(answer.status, status);
    t.is(answer.headers["access-control-allow-origin"], page);
  }
});

test("a stream carries them, and what it ignored can be read", async (t) => {
  const { server } = await startMockApi(t, {}, { CORS_ORIGINS: page });
  const answer = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { ...withKey, origin: page },
    body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], stream: true, unheard_of: 1 }),
  });
  t.is(answer.status, 200);
  t.is(answer.headers.get("content-type"), "text/event-stream; charset=utf-8");
  t.is(answer.headers.get("access-control-allow-origin"), page);
  t.is(answer.headers.get("x-ignored-parameters"), "unheard_of");
  t.true(answer.headers.get("access-control-expose-headers")!.includes("x-ignored-parameters"));
  t.true((await answer.text()).endsWith("data: [DONE]\n\n"));
});

test("without CORS_ORIGINS nothing is said, and OPTIONS still is 204", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const answer = await fetch(`${server.url}/v1/models`, { method: "OPTIONS", headers: { origin: page } });
  t.is(answer.status, 204);
  t.deepEqual(
    [...answer.headers.keys()].filter((name) => name.startsWith("access-control") || name === "vary"),
    [],
  );
});
