// What is known about one call while it is answered. The middleware of app.ts fills it in, handlers read it.
import type { ParameterizedContext } from "koa";
import type { Admission } from "../admission/quota.ts";
import type { Identity } from "../keys/key-ring.ts";
import type { CallRecord } from "../telemetry/call-record.ts";

/** At `ctx.state`. */
export type CallState = {
  /** Sent back as x-request-id. */
  requestId: string;
  /** Who calls; `anonymous` of key-ring.ts on public routes. */
  identity: Identity;
  /** What the call has taken of its key's quotas; `unlimited` of quota.ts before it took any. */
  admission: Admission;
  /**
   * Aborted when the call must end: the reason is a ClientLeft when the client left before its answer ended, else the Failure
   * that the client is to be told.
   */
  signal: AbortSignal;
  /** What this call did, for counters, metrics and the access log. An engine route says how its work goes on. */
  record: CallRecord;
  /** What was asked for: without the query and one trailing slash, otherwise as sent. */
  path: string;
  /** The path of the route table that was found, or `noRoute`. */
  route: string;
  /** False for OPTIONS and public routes: they are in no access log. */
  apiCall: boolean;
  /** The part of the path behind a route that ends in `/*`, as sent; empty for other routes. */
  tail: string;
};

/** Stands in metrics for every path that is in no route table, so that their number stays bounded. */
export const noRoute = "none";

export type Context = ParameterizedContext<CallState>;
