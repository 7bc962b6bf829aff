// When a call is over, one way or another: what HTTP knows of it goes, with the call's record, into the metrics and the access log.
// Calls without a readable head have no record: the door tells of them.
import type { ServerResponse } from "node:http";
import type { Failure } from "../errors.ts";
import type { AccessSink } from "../telemetry/access-file.ts";
import type { CallRecord } from "../telemetry/call-record.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { type Context, noRoute } from "./call.ts";

type Sinks = { readonly metrics: Metrics; readonly accessLog: AccessSink };

/** What client-error.ts tells of requests that it answers itself. */
export type DoorWatch = {
  /** There was no head to be read, or none yet. */
  readonly unreadable: (failure: Failure, requestId: string) => void;
  /** The body of a call turned out to be no HTTP. */
  readonly malformedBody: (failure: Failure, response: ServerResponse) => void;
};

/** No client ever sees it: the one that would left before the head. */
const clientLeft = 499;

const records = new WeakMap<ServerResponse, CallRecord>();

/** From now on the door finds the call's record. */
export function noteBegin({ res, state }: Context): void {
  records.set(res, state.record);
}

/** @param complete false: the client left before the last byte */
export function noteEnd(ctx: Context, complete: boolean, { metrics, accessLog }: Sinks): void {
  const { record, route, apiCall, requestId, path } = ctx.state;
  const status = complete || ctx.res.headersSent ? ctx.res.statusCode : clientLeft;
  metrics.answered(route, status);
  if (!apiCall) return;
  const { method } = ctx;
  const { durationMs } = record.describe(complete);
  const known = { time: new Date(), method, path, status, requestId };
  record.whenComputed(() => accessLog.write({ ...known, ...record.describe(complete), durationMs }));
}

export function watchDoor({ metrics, accessLog }: Sinks): DoorWatch {
  const nothing = { promptTokens: null, cachedTokens: null, completionTokens: null, finishReason: null };
  const unknown = { keyId: null, method: null, path: null, ...nothing, queueMs: null, ttftMs: null, durationMs: null };
  return {
    unreadable: (failure, requestId) => {
      const { status } = failure;
      metrics.answered(noRoute, status);
      accessLog.write({ ...unknown, time: new Date(), status, requestId, error: failure.toErrorObject().code });
    },
    malformedBody: (failure, response) => records.get(response)?.failed(failure),
  };
}
