// createApp(parts): every request's way, as middleware in the order of CONTRACT.md section 4.1. It builds and never listens;
// what happens before there is a readable head is in http/client-error.ts.
import Koa, { type Middleware } from "koa";
import { unlimited } from "./admission/quota.ts";
import { expectAdmin } from "./api/admin.ts";
import type { CallState, Context } from "./api/handler.ts";
import type { Parts } from "./api/parts.ts";
import { type Endpoint, findEndpoint, findRoute, methodsOf, pathnameOf, type Route, routesFor } from "./api/routes.ts";
import { createStateGate } from "./api/state-gate.ts";
import { Failure } from "./errors.ts";
import { noteBegin, noteEnd } from "./http/access-log.ts";
import { readCredential } from "./http/bearer.ts";
import { countBodyBytes } from "./http/body-bytes.ts";
import { noRoute } from "./http/call.ts";
import { cors } from "./http/cors.ts";
import { ClientLeft, whenOver } from "./http/departure.ts";
import { speaksAnthropic } from "./http/failure-answer.ts";
import { answerFailures } from "./http/failures.ts";
import { checkBodyHead, checkHead } from "./http/limits.ts";
import { requestIdFrom } from "./http/request-id.ts";
import { UnreadAnswers } from "./http/unread-answers.ts";
import { anonymous } from "./keys/key-ring.ts";
import { CallRecord } from "./telemetry/call-record.ts";

/** Hand `callback()` to createHttpServer(). @param table tests bring their own routes */
export function createApp(parts: Parts, table: readonly Route[] = routesFor(parts.config)): Koa<CallState> {
  const app = new Koa<CallState>();
  app.on("error", (error: Error) => parts.log.debug({ err: error }, "connection failed while it was answered"));
  app.use(beginCall(parts));
  app.use(cors(parts.config.corsOrigins));
  app.use(answerFailures(parts.log));
  app.use((ctx, next) => {
    checkHead(ctx.req, parts.config);
    return next();
  });
  app.use(answerOptions);
  app.use(routeCalls(parts, table));
  return app;
}

/** Everything the rest may rely on at `ctx.state`. */
function beginCall(parts: Parts): Middleware<CallState> {
  const { config, cut, metrics } = parts;
  const unread = new UnreadAnswers();
  const open = new Set<AbortController>();
  const cutAll = () => {
    for (const call of open) call.abort(cut.reason);
  };
  cut.addEventListener("abort", cutAll, { once: true });
  return (ctx, next) => {
    const call = new AbortController();
    const requestId = requestIdFrom(ctx.headers["x-request-id"]);
    const record = new CallRecord(metrics);
    Object.assign(ctx.state, {
      requestId,
      identity: anonymous,
      admission: unlimited,
      signal: call.signal,
      record,
      path: pathnameOf(ctx.req.url ?? "/"),
      route: noRoute,
      apiCall: ctx.method !== "OPTIONS",
      tail: "",
    } satisfies CallState);
    noteBegin(ctx);
    ctx.set("x-request-id", requestId);
    if (speaksAnthropic(ctx.state.path)) ctx.set("request-id", requestId);
    open.add(call);
    const read = unread.watch(ctx.req, ctx.res, () => record.workBeganMs + config.requestTimeout * 1000);
    whenOver(ctx.req, ctx.res, (complete) => {
      open.delete(call);
      read();
      if (!complete) call.abort(new ClientLeft());
      noteEnd(ctx, complete, parts);
    });
    return next();
  };
}

const answerOptions: Middleware<CallState> = (ctx, next) => {
  if (ctx.method !== "OPTIONS") return next();
  ctx.body = null;
  ctx.status = 204;
};

/** Public routes are answered to anybody; for all else the caller must be known before he learns what exists. */
function routeCalls(parts: Parts, table: readonly Route[]): Middleware<CallState> {
  const passStateGate = createStateGate(parts);
  return async (ctx) => {
    const { state } = ctx;
    const endpoint = findEndpoint(table, state.path);
    if (endpoint) state.route = endpoint.routes[0]!.path;
    if (endpoint?.routes.every((route) => route.class === "public")) {
      state.apiCall = false;
      return chooseRoute(ctx, endpoint).handler(ctx, parts);
    }
    admitCaller(ctx, parts);
    if (endpoint?.routes.every((route) => route.class === "scrape"))
      return chooseRoute(ctx, endpoint).handler(ctx, parts);
    openCall(ctx, parts);
    const route = chooseRoute(ctx, endpoint);
    if (route.class === "admin") {
      expectAdmin(ctx.state.identity, parts);
      return route.handler(ctx, parts);
    }
    passStateGate();
    await passQuota(ctx, parts);
    if (!route.engine) ctx.state.record.leftQueue(0);
    checkBodyHead(ctx.req, parts.config);
    await handle(route, ctx, parts);
  };
}

/** Takes a request unit and one of concurrency. @throws Failure rate_limit_exceeded or concurrency_limit_exceeded */
async function passQuota(ctx: Context, { quota }: Parts): Promise<void> {
  const { state } = ctx;
  try {
    state.admission = await quota.admit(state.identity);
  } finally {
    ctx.set(quota.headers(state.identity));
  }
  whenOver(ctx.req, ctx.res, () => state.admission.end());
}

/** Refused for now before it ran, whoever refuses it: then it costs nothing. */
async function handle(route: Route, ctx: Context, parts: Parts): Promise<void> {
  try {
    await route.handler(ctx, parts);
  } catch (error) {
    if (error instanceof Failure && error.status === 503) ctx.state.admission.giveBack();
    throw error;
  }
}

/** @throws Failure invalid_api_key */
function admitCaller(ctx: Context, { keys, quota, metrics: { counters } }: Parts): void {
  countBodyBytes(ctx.res, (bytes) => {
    counters.bytesSent += bytes;
  });
  ctx.state.identity = keys.authenticate(readCredential(ctx.headers));
  ctx.state.record.identified(ctx.state.identity.keyId);
  if (keys.enabled) counters.requestsAuthenticated += 1;
  ctx.set(quota.headers(ctx.state.identity));
}

/** From here to its last byte the call is activity, and its end counts. */
function openCall(ctx: Context, { heartbeat }: Parts): void {
  heartbeat.callOpened();
  whenOver(ctx.req, ctx.res, (complete) => {
    heartbeat.callClosed();
    ctx.state.record.ended(ctx.res.statusCode, complete);
  });
}

/** @throws Failure not_found or method_not_allowed */
function chooseRoute(ctx: Context, endpoint: Endpoint | undefined): Route {
  if (!endpoint) {
    throw new Failure("not_found", `No such endpoint: ${ctx.method} ${ctx.state.path.slice(0, 64)}.`);
  }
  const route = findRoute(endpoint, ctx.method);
  if (!route) {
    const methods = methodsOf(endpoint);
    throw new Failure("method_not_allowed", `Use ${methods}.`, { headers: { Allow: methods } });
  }
  ctx.state.tail = endpoint.tail;
  return route;
}
