// How many requests were finished in the last minute, to tell those that find the queue full when to come back.
import { Line } from "./line.ts";

const minuteMs = 60_000;
const [leastSeconds, mostSeconds, unknownSeconds] = [1, 600, 5];

export class Throughput {
  readonly #endedMs = new Line<number>();
  #sinceMs: number | undefined;

  /** Work has begun; before the first time there is no history. */
  began(now: number): void {
    this.#sinceMs ??= now;
  }

  ended(now: number): void {
    this.#endedMs.push(now);
    this.#forget(now);
  }

  /** Until as many requests will have ended as wait now, by the last minute, or since work began when that is less. */
  secondsFor(waiting: number, now: number): number {
    this.#forget(now);
    if (this.#endedMs.length === 0 || this.#sinceMs === undefined) return unknownSeconds;
    const perSecond = this.#endedMs.length / (Math.min(minuteMs, Math.max(1, now - this.#sinceMs)) / 1000);
    return Math.min(mostSeconds, Math.max(leastSeconds, Math.ceil(waiting / perSecond)));
  }

  #forget(now: number): void {
    while (this.#endedMs.first !== undefined && this.#endedMs.first + minuteMs <= now) this.#endedMs.shift();
  }
}
