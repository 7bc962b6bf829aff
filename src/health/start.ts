// Starts the health thread, restarts it when it dies, and stops it last. The server goes on without it meanwhile.
import { Worker } from "node:worker_threads";
import type { Logger } from "../telemetry/log.ts";
import { type Heartbeat, monotonicMs } from "./heartbeat.ts";
import type { ListenerMessage, ListenerOptions } from "./listener.ts";

export type HealthOptions = {
  readonly host: string;
  /** PORT_HEALTH; 0 = any free port. */
  readonly port: number;
  readonly heartbeat: Heartbeat;
  readonly livenessStallSeconds: number;
  readonly log: Logger;
  /** Total time a client has for a request head; 5000 unless told. */
  readonly headTimeoutMs?: number;
  /** Pause before the first restart, doubled up to a minute by each further one; 1000 unless told. */
  readonly firstPauseMs?: number;
};

const longestPauseMs = 60_000;

const listenProblems: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is already in use; stop the other program or choose another port",
  EACCES: "the port may not be opened by this user; choose one of 1024 or above",
  EADDRNOTAVAIL: "HOST is no address of this machine; use 0.0.0.0, 127.0.0.1 or one that it has",
  ENOTFOUND: "HOST is neither an address nor a known name",
};

/** A port that could not be opened: which variable names it, why, and what helps. */
export class ListenError extends Error {
  constructor(variable: string, host: string, port: number, cause: NodeJS.ErrnoException) {
    const problem = listenProblems[cause.code ?? ""] ?? cause.message;
    super(`cannot listen on ${variable}=${port} (HOST=${host}): ${problem}`, { cause });
    this.name = "ListenError";
  }
}

/**
 * Resolves once the thread listens.
 * @throws ListenError naming PORT_HEALTH when it cannot
 */
export async function startHealth(options: HealthOptions): Promise<HealthThread> {
  const thread = new HealthThread(options);
  await thread.launch();
  return thread;
}

export class HealthThread {
  readonly #options: HealthOptions;
  readonly #startedAtMs = monotonicMs() - process.uptime() * 1000;
  #port: number;
  #worker: Worker | undefined;
  #pauseMs: number;
  #listeningSinceMs = 0;
  #restart: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#port = options.port;
    this.#pauseMs = options.firstPauseMs ?? 1000;
  }

  /** The port it listens on; a restarted thread takes the same one. */
  get port(): number {
    return this.#port;
  }

  /** The thread in use now, another one after each restart. */
  get worker(): Worker | undefined {
    return this.#worker;
  }

  /** Starts one worker and waits until it listens. Called by startHealth and by the restart. */
  async launch(): Promise<void> {
    const worker = new Worker(new URL("./listener.js", import.meta.url), {
      workerData: this.#workerData(),
      name: "health",
    });
    this.#worker = worker;
    worker.on("error", (error) => this.#options.log.error({ err: error }, "the health thread failed"));
    try {
      this.#port = await untilListening(worker);
    } catch (error) {
      throw new ListenError("PORT_HEALTH", this.#options.host, this.#port, error as NodeJS.ErrnoException);
    }
    this.#listeningSinceMs = monotonicMs();
    worker.once("exit", () => this.#restartLater("the health thread ended"));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#restart);
    await this.#worker?.terminate();
  }

  #workerData(): ListenerOptions {
    const { host, heartbeat, livenessStallSeconds, headTimeoutMs = 5000 } = this.#options;
    const startedAtMs = this.#startedAtMs;
    return { host, port: this.#port, heartbeat: heartbeat.buffer, livenessStallSeconds, headTimeoutMs, startedAtMs };
  }

  #restartLater(why: string): void {
    if (this.#stopped) return;
    const { log, firstPauseMs = 1000 } = this.#options;
    if (monotonicMs() - this.#listeningSinceMs > longestPauseMs) this.#pauseMs = firstPauseMs;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    log.error({ pauseMs }, `${why}; it is started again after a pause`);
    this.#restart = setTimeout(() => {
      this.launch().then(
        () => log.warn({ port: this.#port }, "the health thread answers again"),
        (error: Error) => this.#restartLater(error.message),
      );
    }, pauseMs);
  }
}

/** The port the worker took. Rejects when it could not listen or ended before it did. */
function untilListening(worker: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    worker.once("message", (message: ListenerMessage) => {
      if (message.type === "listening") resolve(message.port);
      else reject(Object.assign(new Error(message.message), { code: message.code }));
    });
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the health thread ended before it listened")));
  });
}
