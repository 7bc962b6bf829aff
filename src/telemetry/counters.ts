// The gateway's counters (CONTRACT.md section 8.1): what has been counted since the start, and the eleven values in their order.
// A CallRecord per API call counts that call into them, each thing once.
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
