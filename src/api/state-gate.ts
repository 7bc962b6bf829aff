// Refuses calls while there is no model to answer them, and says when to come back (CONTRACT.md sections 4.1 step 7 and 6.1).
import { Failure } from "../errors.ts";
import { monotonicMs } from "../health/heartbeat.ts";
import type { Parts } from "./parts.ts";

const unknownSeconds = 5;

/**
 * @param now milliseconds on the heartbeat's clock
 * @returns what throws Failure loading or draining unless the state is ready
 */
export function createStateGate(
  { config, heartbeat }: Pick<Parts, "config" | "heartbeat">,
  now = monotonicMs,
): () => void {
  return () => {
    const { state } = heartbeat;
    if (state === "ready") return;
    const sinceMs = now() - heartbeat.stateSinceMs;
    if (state === "loading") {
      throw refusal("loading", "The model is loading", loadSecondsLeft(heartbeat.loadProgress, sinceMs));
    }
    if (state === "error") throw refusal("draining", "The engine is lost", unknownSeconds);
    const left = config.drainTimeout - sinceMs / 1000;
    throw refusal("draining", "The server is shutting down", Math.max(1, Math.ceil(left)));
  };
}

/** By the progress so far, 1 to 60; 5 when there is none. @param progress 0 to 1 */
export function loadSecondsLeft(progress: number, elapsedMs: number): number {
  if (!(progress > 0)) return unknownSeconds;
  const left = ((elapsedMs / 1000) * (1 - progress)) / progress;
  return Math.min(60, Math.max(1, Math.ceil(left)));
}

function refusal(kind: "loading" | "draining", state: string, seconds: number): Failure {
  return new Failure(kind, `${state}, try again in ${seconds}s.`, { headers: { "Retry-After": String(seconds) } });
}
