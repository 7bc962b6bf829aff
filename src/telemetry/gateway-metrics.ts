// The eleven gateway metrics in Prometheus form: their kinds and help texts. Their values stay in counters.ts.
import { Counter, Gauge, Registry } from "prom-client";
import type { GatewayMetrics } from "./counters.ts";

const prefix = "gateway_";

/** In the order of the Python gateway. */
const definitions = {
  requests_total: [Counter, "Requests that left the queue."],
  requests_success: [Counter, "Of those, answered without a 5xx."],
  requests_error: [Counter, "Of those, ended with a 5xx, a timeout or an error event."],
  requests_active: [Gauge, "Requests that hold a sequence."],
  requests_authenticated: [Counter, "API calls with an accepted key."],
  requests_unauthorized: [Counter, "API calls that were answered 401 or 429."],
  bytes_sent: [Counter, "Body bytes of answers to API calls."],
  queue_depth: [Gauge, "Requests that wait for a sequence."],
  queue_rejections: [Counter, "503 because the queue was full or the wait too long."],
  queue_wait_seconds_total: [Counter, "Waits of the requests that left the queue."],
  uptime_seconds: [Gauge, "Seconds since the process began."],
} as const;

export class GatewayExposition {
  readonly #registry = new Registry();
  readonly #metrics = Object.entries(definitions).map(([name, [Kind, help]]) => {
    return { name, metric: new Kind({ name: `${prefix}${name}`, help, registers: [this.#registry] }) };
  });

  /** @param values by the names above */
  text(values: GatewayMetrics): Promise<string> {
    for (const { name, metric } of this.#metrics) {
      const value = values[name]!;
      if (metric instanceof Gauge) metric.set(value);
      else {
        metric.reset();
        metric.inc(value);
      }
    }
    return this.#registry.metrics();
  }
}
