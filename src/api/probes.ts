// The public probes on PORT: empty answers for /, /api/hello and /ping, and /health built from counters only.
// They tell no model name and no error text, for anybody may ask.
import type { Context, Handler } from "./handler.ts";
import type { Parts } from "./parts.ts";

/** For clients that look whether anything is there. */
export const hello: Handler = (ctx) => answerEmpty(ctx, 200);

/** 200 means that the model is there. */
export const ping: Handler = (ctx, { heartbeat }) => answerEmpty(ctx, heartbeat.state === "loading" ? 204 : 200);

/** Always HTTP 200; the server's state is in the body (CONTRACT.md section 7.1, also for the order of the keys). */
export const health: Handler = (ctx, parts) => {
  ctx.type = "application/json; charset=utf-8";
  ctx.body = JSON.stringify(describeHealth(parts), null, 2);
};

function describeHealth({ config, engine, heartbeat, keys, metrics }: Parts): object {
  const { state } = heartbeat;
  const status = state === "ready" ? "ok" : state;
  return {
    status,
    code: status === "ok" ? 200 : 503,
    backend: state === "loading" ? { status, load_progress: heartbeat.loadProgress } : { status },
    gateway: { status: "ok", metrics: metrics.counters.gatewayMetrics(heartbeat) },
    queue: {
      max_concurrent: engine()?.maxConcurrentRequests ?? config.maxConcurrentRequests,
      max_queue_size: config.maxQueueSize,
      active: heartbeat.activeRequests,
      waiting: heartbeat.queuedRequests,
    },
    authentication: { enabled: keys.enabled },
  };
}

function answerEmpty(ctx: Context, status: number): void {
  ctx.body = null;
  ctx.status = status;
}
