// How long work waits for the main thread: percentiles of the event loop's delay over the last seconds, or longer when nobody asks.
// Keeps no process alive.
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

const resolutionMs = 20;
/** Asked for more often, the percentiles stay those of the running window: a second reader must not empty the first one's. */
const windowMs = 10_000;

export const lagQuantiles = [0.5, 0.9, 0.99] as const;

export class EventLoopLag {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  #windowSinceMs = performance.now();

  constructor() {
    this.#histogram.enable();
  }

  /** Seconds by quantile. */
  read(): Record<string, number> {
    const values = lagQuantiles.map((quantile) => {
      // What is measured is the time from one tick of a timer to the next, the timer's own period included.
      const nanoseconds = this.#histogram.percentile(quantile * 100) - resolutionMs * 1e6;
      return [String(quantile), Math.max(0, nanoseconds) / 1e9];
    });
    const now = performance.now();
    if (now - this.#windowSinceMs >= windowMs) {
      this.#histogram.reset();
      this.#windowSinceMs = now;
    }
    return Object.fromEntries(values);
  }
}
