// A request's way from its last check to its first place: the token quota, then the queue (CONTRACT.md section 4.1, step 10). Who is
// turned away here gets back all that was taken.
import { performance } from "node:perf_hooks";
import type { Gate, Place } from "../admission/gate.ts";
import type { Demand } from "../admission/reservation.ts";
import type { Context } from "./handler.ts";
import type { Parts } from "./parts.ts";

export type Work = Demand & { readonly stream: boolean };

/**
 * Call it when nothing else can refuse the request any more; REQUEST_TIMEOUT runs from its end.
 * @throws Failure request_exceeds_token_quota, token_rate_limit_exceeded, queue_full, queued_tokens_full, queue_timeout, draining
 * @throws the reason of the call's signal
 */
export async function takeTurn(ctx: Context, { gate, quota }: Parts, work: Work): Promise<Place> {
  const { admission, identity } = ctx.state;
  try {
    await admission.reserveTokens(work);
    return await waitForPlace(ctx, gate, work);
  } finally {
    ctx.set(quota.headers(identity));
  }
}

async function waitForPlace(ctx: Context, gate: Gate, { promptTokens, stream }: Work): Promise<Place> {
  const { admission, identity, record, signal } = ctx.state;
  record.joinedQueue(stream);
  const joinedMs = performance.now();
  try {
    const place = await gate.enter({ keyId: identity.keyId, promptTokens, signal });
    record.leftQueue(performance.now() - joinedMs);
    admission.began();
    return place;
  } catch (error) {
    admission.giveBack();
    throw error;
  }
}
