// The server: its heartbeat, its two ports and its engine. Opens, loads, drains and closes them; knows no signal and no exit code.
import { randomBytes } from "node:crypto";
import type { Server as HttpServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type AdmissionParts, createAdmission } from "./admission/create.ts";
import type { RedisLink } from "./admission/redis.ts";
import { createApp } from "./app.ts";
import type { Config } from "./config.ts";
import { Drain } from "./drain.ts";
import type { Engine } from "./engine/engine.ts";
import { Failure } from "./errors.ts";
import { Heartbeat, monotonicMs } from "./health/heartbeat.ts";
import { type HealthThread, ListenError, startHealth } from "./health/start.ts";
import { watchDoor } from "./http/access-log.ts";
import { createHttpServer } from "./http/client-error.ts";
import type { KeyRing } from "./keys/key-ring.ts";
import type { AccessSink } from "./telemetry/access-file.ts";
import type { Logger } from "./telemetry/log.ts";
import { Metrics } from "./telemetry/metrics.ts";

/** What an engine is loaded with; `signal` abandons the load. */
export type LoadContext = {
  readonly config: Config;
  readonly log: Logger;
  readonly heartbeat: Heartbeat;
  readonly signal: AbortSignal;
  readonly onProgress: (fraction: number) => void;
  readonly onLost: (error: Error) => void;
};
export type LoadEngine = (context: LoadContext) => Promise<Engine>;

export type ServerOptions = {
  readonly config: Config;
  readonly log: Logger;
  readonly keys: KeyRing;
  readonly accessLog: AccessSink;
  /** Shares the quotas with other replicas; it is closed with the server. */
  readonly redis?: RedisLink | undefined;
  readonly loadEngine: LoadEngine;
  /** IDLE_EXIT_SECONDS have passed, or the engine is lost; the argument says which. */
  readonly onEnd: (reason: string) => void;
};

const beatMs = 500;
/**
 * What may take how long at the end. With drain.ts's 2 s for cut calls, less than the 5 s beyond DRAIN_TIMEOUT that operators plan;
 * saving prompt beginnings takes what the calls left of DRAIN_TIMEOUT.
 */
const grace = { abandonedLoadMs: 3000, leastKeepMs: 200, disposeMs: 2000, closeMs: 500 };

export class Server {
  readonly #options: ServerOptions;
  readonly #heartbeat = new Heartbeat();
  readonly #admission: AdmissionParts;
  readonly #drain: Drain;
  readonly #http: HttpServer;
  #health: HealthThread | undefined;
  #engine: Engine | undefined;
  #beating: NodeJS.Timeout | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { config, log, keys, accessLog, redis } = options;
    const places = () => this.#engine?.maxConcurrentRequests ?? 0;
    const shared = { log, heartbeat: this.#heartbeat };
    this.#admission = createAdmission({ ...shared, config, places, redis });
    const { quota, gate } = this.#admission;
    this.#drain = new Drain({ ...shared, gate });
    const metrics = new Metrics({ vllmAliases: config.metricsVllmAliases });
    const engine = () => this.#engine;
    const parts = { ...shared, config, keys, quota, gate, engine, metrics, accessLog, cut: this.#drain.cut };
    this.#http = createHttpServer(createApp(parts).callback(), config, log, watchDoor(parts));
  }

  /** True once steps kept failing: the engine is not coming back. */
  get lost(): boolean {
    return this.#heartbeat.state === "error";
  }

  /** Opens both ports; from then on all probes answer and calls get 503 loading. @throws ListenError */
  async open(): Promise<void> {
    const { config, log } = this.#options;
    const { host, port, portHealth, livenessStallSeconds } = config;
    this.#beating = setInterval(() => this.#beat(), beatMs);
    this.#health = await startHealth({ host, port: portHealth, heartbeat: this.#heartbeat, livenessStallSeconds, log });
    await listen(this.#http, host, port);
    log.info({ HOST: host, PORT: port, PORT_HEALTH: portHealth }, "listening; the model is loading");
  }

  /** Loads the engine and lets calls in. @throws what loading threw, or the signal's reason */
  async load(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { config, log, loadEngine } = this.#options;
    const heartbeat = this.#heartbeat;
    const onProgress = (fraction: number) => {
      heartbeat.loadProgress = fraction;
    };
    const began = monotonicMs();
    const loading = loadEngine({ config, log, heartbeat, signal, onProgress, onLost: (error) => this.#lose(error) });
    this.#engine = await Promise.race([loading, abandoned(signal)]);
    signal.throwIfAborted();
    expectWrongKeyRefused(this.#options.keys);
    heartbeat.state = "ready";
    const { name, contextTokens } = this.#engine.model;
    log.info({ model: name, contextTokens, loadMs: Math.round(monotonicMs() - began) }, "ready");
  }

  /** Lets running calls finish, within DRAIN_TIMEOUT; waiting and new ones get 503 draining. Then keeps what may be kept. */
  async drain(): Promise<void> {
    this.#heartbeat.state = "draining";
    const { drainTimeout } = this.#options.config;
    const began = monotonicMs();
    await this.#drain.finishCalls(drainTimeout);
    await this.#keepPrefixes(Math.max(began + drainTimeout * 1000 - monotonicMs(), grace.leastKeepMs));
  }

  /** The engine is lost: ends all calls at once. */
  async abort(): Promise<void> {
    await this.#drain.cutCalls(new Failure("generation_failed", "The engine of this server has failed."));
  }

  /** Releases what is open, the health port last. */
  async close(): Promise<void> {
    await this.#disposeEngine();
    await closeHttp(this.#http);
    await this.#admission.close();
    clearInterval(this.#beating);
    await this.#health?.stop();
  }

  #beat(): void {
    const { config, onEnd } = this.#options;
    this.#heartbeat.beat();
    const idleSeconds = this.#heartbeat.idleSeconds(monotonicMs());
    if (config.idleExitSeconds > 0 && idleSeconds >= config.idleExitSeconds)
      onEnd(`idle for ${Math.floor(idleSeconds)} s`);
  }

  #lose(error: Error): void {
    this.#heartbeat.state = "error";
    this.#options.log.error({ err: error }, "the engine is lost");
    this.#options.onEnd("the engine is lost");
  }

  async #keepPrefixes(withinMs: number): Promise<void> {
    const { log } = this.#options;
    // The engine minds the time while it writes, but neither a step nor a disk that hangs.
    const tooLong = sleep(withinMs + grace.leastKeepMs, "late", { ref: false });
    try {
      const result = await Promise.race([this.#engine?.keepPrefixes(withinMs), tooLong]);
      if (result === "late") log.warn("keeping prompt beginnings takes too long; the shutdown goes on without it");
    } catch (error) {
      log.error({ err: error }, "prompt beginnings could not be kept");
    }
  }

  async #disposeEngine(): Promise<void> {
    const { log } = this.#options;
    const tooLong = sleep(grace.disposeMs, "late");
    try {
      const result = await Promise.race([this.#engine?.dispose(), tooLong]);
      if (result === "late") log.warn("the engine takes too long to end; the process ends without it");
    } catch (error) {
      log.error({ err: error }, "the engine could not be disposed of");
    }
  }
}

/** Rejects some time after the signal, for loads that do not obey it. */
function abandoned(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const giveUp = () => setTimeout(() => reject(signal.reason), grace.abandonedLoadMs).unref();
    signal.addEventListener("abort", giveUp, { once: true });
  });
}

/** A server that lets anybody in by mistake must not become ready. */
function expectWrongKeyRefused(keys: KeyRing): void {
  if (!keys.enabled) return;
  const wrong = `sk-${randomBytes(32).toString("base64url")}`;
  try {
    keys.authenticate({ key: wrong });
  } catch (error) {
    if (error instanceof Failure && error.kind === "invalid_api_key") return;
    throw error;
  }
  throw new Error("self-check failed: a random API key was accepted");
}

function listen(server: HttpServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new ListenError("PORT", host, port, error)));
    server.listen(port, host, resolve);
  });
}

async function closeHttp(server: HttpServer): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  await Promise.race([closed, sleep(grace.closeMs)]);
  server.closeAllConnections();
}
