// createApp(parts): every request's way, as middleware in the order of CONTRACT.md section 4.1. It builds and never listens;
// what happens before there is a readable head is in http/client-error.ts.
import Koa, { type Middleware } from "koa";
import type { CallState, Context } from "./api/handler.ts";
import type { Parts } from "./api/parts.ts";
import { type Endpoint, findEndpoint, findRoute, methodsOf, pathnameOf, type Route, routes } from "./api/routes.ts";
import { createStateGate } from "./api/state-gate.ts";
import { Failure } from "./errors.ts";
import { countBodyBytes } from "./http/body-bytes.ts";
import { ClientLeft, whenOver } from "./http/departure.ts";
import { answerFailures } from "./http/failures.ts";
import { checkBodyHead, checkHead } from "./http/limits.ts";
import { requestIdFrom } from "./http/request-id.ts";
import { anonymous } from "./keys/key-ring.ts";
import { CallRecord, Counters } from "./telemetry/counters.ts";

/** One application with counters of its own. Hand `callback()` to createHttpServer(). @param table tests bring their own routes */
export function createApp(parts: Parts, table: readonly Route[] = routes): Koa<CallState> {
  const app = new Koa<CallState>();
  app.on("error", (error: Error) => parts.log.debug({ err: error }, "connection failed while it was answered"));
  app.use(beginCall(new Counters(), parts.cut));
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
function beginCall(counters: Counters, cut: AbortSignal): Middleware<CallState> {
  const open = new Set<AbortController>();
  const cutAll = () => {
    for (const call of open) call.abort(cut.reason);
  };
  cut.addEventListener("abort", cutAll, { once: true });
  return (ctx, next) => {
    const call = new AbortController();
    const requestId = requestIdFrom(ctx.headers["x-request-id"]);
    const record = new CallRecord(counters);
    Object.assign(ctx.state, { requestId, identity: anonymous, signal: call.signal, record, counters, tail: "" });
    ctx.set("x-request-id", requestId);
    open.add(call);
    whenOver(ctx.req, ctx.res, (complete) => {
      open.delete(call);
      if (!complete) call.abort(new ClientLeft());
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
    const endpoint = findEndpoint(table, pathnameOf(ctx.req.url ?? "/"));
    if (endpoint?.routes.every((route) => route.class === "public"))
      return chooseRoute(ctx, endpoint).handler(ctx, parts);
    admitCaller(ctx, parts);
    const route = chooseRoute(ctx, endpoint);
    passStateGate();
    checkBodyHead(ctx.req, parts.config);
    if (!route.engine) ctx.state.record.leftQueue(0);
    await route.handler(ctx, parts);
  };
}

/** @throws Failure invalid_api_key */
function admitCaller(ctx: Context, { heartbeat, keys }: Parts): void {
  const { counters, record } = ctx.state;
  countBodyBytes(ctx.res, (bytes) => {
    counters.bytesSent += bytes;
  });
  try {
    ctx.state.identity = keys.authenticate(ctx.headers);
  } catch (error) {
    counters.requestsUnauthorized += 1;
    throw error;
  }
  if (keys.enabled) counters.requestsAuthenticated += 1;
  heartbeat.callOpened();
  whenOver(ctx.req, ctx.res, (complete) => {
    heartbeat.callClosed();
    record.ended(ctx.res.statusCode, complete);
  });
}

/** @throws Failure not_found or method_not_allowed */
function chooseRoute(ctx: Context, endpoint: Endpoint | undefined): Route {
  if (!endpoint) {
    throw new Failure("not_found", `No such endpoint: ${ctx.method} ${pathnameOf(ctx.req.url ?? "/").slice(0, 64)}.`);
  }
  const route = findRoute(endpoint, ctx.method);
  if (!route) {
    const methods = methodsOf(endpoint);
    throw new Failure("method_not_allowed", `Use ${methods}.`, { headers: { Allow: methods } });
  }
  ctx.state.tail = endpoint.tail;
  return route;
}
