// The time that admission lives by: it never jumps, and tests put their own in its place so that minutes pass at once.
import { monotonicMs } from "../health/heartbeat.ts";

export type Clock = {
  /** Milliseconds. */
  readonly now: () => number;
  /** Calls back once, that much later; what it returns takes that back. It does not keep the process alive. */
  readonly after: (ms: number, callback: () => void) => () => void;
};

export const systemClock: Clock = {
  now: monotonicMs,
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
