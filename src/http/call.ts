// What is known about one call while it is answered. The middleware of app.ts fills it in, handlers read it.
import type { ParameterizedContext } from "koa";
import type { Identity } from "../keys/key-ring.ts";
import type { CallRecord, Counters } from "../telemetry/counters.ts";

/** At `ctx.state`. */
export type CallState = {
  /** Sent back as x-request-id. */
  requestId: string;
  /** Who calls; `anonymous` of key-ring.ts on public routes. */
  identity: Identity;
  /**
   * Aborted when the call must end: the reason is a ClientLeft when the client left before its answer ended, else the Failure
   * that the client is to be told.
   */
  signal: AbortSignal;
  /** What this call adds to the counters. An engine route says when it left the queue, and when it failed after its head. */
  record: CallRecord;
  counters: Counters;
  /** The part of the path behind a route that ends in `/*`, as sent; empty for other routes. */
  tail: string;
};

export type Context = ParameterizedContext<CallState>;
