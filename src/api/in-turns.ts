// Runs work that can stop (openai/paced.ts) a few milliseconds at a time: tools and schemas of a large request are read beside
// the other requests' streams. By the clock, since code that has not run before takes ten times as long.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Paced } from "../openai/paced.ts";

/** Milliseconds for which the event loop is held at most, but for what the work does between two stops. */
const turn = 5;

/** @throws what the work throws */
export async function inTurns<T>(work: Paced<T>): Promise<T> {
  let began = performance.now();
  for (;;) {
    const step = work.next();
    if (performance.now() - began >= turn) {
      await nextTurn();
      began = performance.now();
    }
    if (step.done) return step.value;
  }
}
