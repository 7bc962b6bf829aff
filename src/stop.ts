// Asks the process to end: once, with the first reason kept. Turns signals into such a wish, and a second one into an end at once.
import { monotonicMs } from "./health/heartbeat.ts";

export class Stop {
  readonly #controller = new AbortController();

  /** Aborted once somebody wants the process to end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  /** Why, for the log; undefined while nobody does. */
  get reason(): string | undefined {
    return this.signal.aborted ? (this.signal.reason as Error).message : undefined;
  }

  /** The first reason counts. */
  request(reason: string): void {
    this.#controller.abort(new Error(reason));
  }

  /** Resolves when the process is to end. */
  async requested(): Promise<void> {
    if (this.signal.aborted) return;
    await new Promise((resolve) => this.signal.addEventListener("abort", resolve, { once: true }));
  }
}

/** Ctrl-C under `npm start` arrives twice: from the terminal, and passed on by npm a moment later. */
const echoMs = 100;

/** SIGTERM and SIGINT ask for an end, a second of either ends the process with 128 + its number; SIGHUP must not kill. */
export function watchSignals(stop: Stop): void {
  let first: { signal: string; atMs: number } | undefined;
  const onSignal = (signal: NodeJS.Signals, number: number) => {
    const atMs = monotonicMs();
    if (first === undefined) {
      first = { signal, atMs };
      stop.request(signal);
      return;
    }
    if (signal === first.signal && atMs - first.atMs < echoMs) return;
    process.stderr.write(`${signal} again: ending at once\n`);
    process.exit(128 + number);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  process.on("SIGHUP", () => {}); // Its default would end the process; what it does instead comes with the keys (hangup.ts).
}
