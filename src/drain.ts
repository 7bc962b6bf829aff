// The end of the open API calls when the server shuts down: waits for those that run, sends those away that wait, and cuts what is
// left. Opens and closes nothing.
import type { Gate } from "./admission/gate.ts";
import { Failure } from "./errors.ts";
import { type Heartbeat, monotonicMs } from "./health/heartbeat.ts";
import type { Logger } from "./telemetry/log.ts";

export type DrainOptions = {
  readonly heartbeat: Heartbeat;
  readonly log: Logger;
  readonly gate: Gate;
};

/** How long calls get to tell their clients that they were cut. */
const cutMs = 2000;

export class Drain {
  readonly #options: DrainOptions;
  readonly #cut = new AbortController();

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  /** Aborted when open calls are cut; its reason is the Failure they end with. */
  get cut(): AbortSignal {
    return this.#cut.signal;
  }

  /** Lets running calls finish within `seconds`, then cuts them; waiting ones get 503 draining at once. */
  async finishCalls(seconds: number): Promise<void> {
    const { heartbeat, log } = this.#options;
    log.info({ openCalls: heartbeat.openCalls, DRAIN_TIMEOUT: seconds }, "draining");
    if (await this.#callsEnded(seconds * 1000)) log.info({ cut: 0 }, "drained: every call was finished");
    else await this.cutCalls(shuttingDown(0));
  }

  /** Ends every open call with this reason, in its answer or as its stream's last event. */
  async cutCalls(reason: Failure): Promise<void> {
    const { heartbeat, log } = this.#options;
    log.warn({ cut: heartbeat.openCalls }, "calls are cut");
    this.#cut.abort(reason);
    if (await this.#callsEnded(cutMs)) return;
    log.warn({ openCalls: heartbeat.openCalls }, "some calls did not end; their connections are closed");
  }

  /** @returns false when the time was over first */
  #callsEnded(withinMs: number): Promise<boolean> {
    const { heartbeat, gate } = this.#options;
    const deadline = monotonicMs() + withinMs;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), withinMs);
      const ended = () => {
        clearTimeout(timer);
        resolve(true);
      };
      heartbeat.onLastCallClosed = ended;
      gate.close(() => shuttingDown(deadline - monotonicMs()));
      if (heartbeat.openCalls === 0) ended();
    });
  }
}

function shuttingDown(leftMs: number): Failure {
  const seconds = Math.max(1, Math.ceil(leftMs / 1000));
  const headers = { "Retry-After": String(seconds) };
  return new Failure("draining", `The server is shutting down, try again in ${seconds}s.`, { headers });
}
