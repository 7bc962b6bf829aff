// Turns what is thrown into the answer: a Failure as its JSON body, anything else as internal_error, logged and not told.
// Once the head is out it reports and cuts, and never writes over the answer.
import type { Middleware } from "koa";
import { Failure, type FailureKind } from "../errors.ts";
import type { Logger } from "../telemetry/log.ts";
import type { CallState, Context } from "./call.ts";
import { closeAfterAnswer, leavesBodyUnread } from "./close.ts";
import { ClientLeft } from "./departure.ts";
import { failureAnswer } from "./failure-answer.ts";

export const jsonType = "application/json; charset=utf-8";

/** After these, what follows on the connection cannot be trusted. */
const closing: ReadonlySet<FailureKind> = new Set<FailureKind>([
  "bad_request",
  "client_timeout",
  "expectation_failed",
  "uri_too_long",
  "header_fields_too_large",
]);

/** Middleware around everything that can fail. Any answer that leaves a body unread closes its connection. */
export function answerFailures(log: Logger): Middleware<CallState> {
  return async (ctx, next) => {
    let failure: Failure | undefined;
    try {
      await next();
    } catch (error) {
      failure = answer(ctx, error, log);
    }
    if (ctx.res.headersSent) return;
    if ((failure && closing.has(failure.kind)) || leavesBodyUnread(ctx.req)) closeAfterAnswer(ctx.req, ctx.res);
  };
}

function answer(ctx: Context, error: unknown, log: Logger): Failure | undefined {
  const { requestId, signal } = ctx.state;
  if (signal.reason instanceof ClientLeft || error instanceof ClientLeft) {
    if (error !== signal.reason) log.debug({ requestId, err: error }, "failed after the client had left");
    return undefined;
  }
  const failure = toFailure(error, requestId);
  ctx.state.record.failed(failure);
  if (failure.status >= 500 && failure.status !== 503) {
    log.error({ requestId, err: failure.cause ?? error }, `${ctx.method} ${ctx.path} failed`);
  }
  if (ctx.res.headersSent) {
    // Whoever wrote the head can no longer be asked to end the answer; an open end would let the client wait for ever. Only after
    // this turn: what was written in it is still corked.
    setImmediate(() => ctx.res.destroy());
    return failure;
  }
  ctx.set(failure.headers);
  const { status, body } = failureAnswer(failure, ctx.state.path, requestId);
  ctx.status = status;
  ctx.type = jsonType;
  ctx.body = body;
  return failure;
}

function toFailure(error: unknown, requestId: string): Failure {
  if (error instanceof Failure) return error;
  return new Failure("internal_error", `Internal error, request ${requestId}.`, { cause: error });
}
