// The gateway's counters (CONTRACT.md section 8.1): what has been counted since the start, and the eleven values in their order.
// One CallRecord per API call counts that call into them, each thing once.
import type { Heartbeat } from "../health/heartbeat.ts";

export type GatewayMetrics = Readonly<Record<string, number>>;

export class Counters {
  requestsTotal = 0;
  requestsSuccess = 0;
  requestsError = 0;
  requestsAuthenticated = 0;
  requestsUnauthorized = 0;
  bytesSent = 0;
  queueRejections = 0;
  queueWaitSeconds = 0;

  /** The eleven, under the Python gateway's names and in its order. */
  gatewayMetrics(heartbeat: Heartbeat): GatewayMetrics {
    return {
      requests_total: this.requestsTotal,
      requests_success: this.requestsSuccess,
      requests_error: this.requestsError,
      requests_active: heartbeat.activeRequests,
      requests_authenticated: this.requestsAuthenticated,
      requests_unauthorized: this.requestsUnauthorized,
      bytes_sent: this.bytesSent,
      queue_depth: heartbeat.queuedRequests,
      queue_rejections: this.queueRejections,
      queue_wait_seconds_total: this.queueWaitSeconds,
      uptime_seconds: Math.floor(process.uptime()),
    };
  }
}

export class CallRecord {
  readonly #counters: Counters;
  #started = false;
  #failed = false;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** The call has its first sequence, or needs none. The second and later times count nothing. @param waitMs time in the queue */
  leftQueue(waitMs: number): void {
    if (this.#started) return;
    this.#started = true;
    this.#counters.requestsTotal += 1;
    this.#counters.queueWaitSeconds += waitMs / 1000;
  }

  /** An error event went out after a head with status 200. */
  failedAfterHead(): void {
    this.#failed = true;
  }

  /**
   * The answer has ended. A client that left counts as neither success nor error, a call that never left the queue as nothing.
   * @param complete false: the client left before the last byte
   */
  ended(status: number, complete: boolean): void {
    // A success, and any 5xx but 503, comes from work on the call, also when nobody told that it had left the queue.
    if (status < 300 || (status >= 500 && status !== 503)) this.leftQueue(0);
    if (!this.#started || !complete) return;
    if (this.#failed || status >= 500) this.#counters.requestsError += 1;
    else this.#counters.requestsSuccess += 1;
  }
}
