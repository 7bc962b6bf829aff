// The connection to Redis that replicas share their quotas through: whether it is there, and one line in the log when it goes and
// when it comes back. Never holds up a start or a request for longer than one command may take.
import Bottleneck from "bottleneck";
import type { Redis, RedisOptions } from "ioredis";
import { ConfigError } from "../config/error.ts";
import type { Logger } from "../telemetry/log.ts";
import { type Clock, systemClock } from "./clock.ts";

const commandTimeoutMs = 500;
const probeEveryMs = 1000;

const clientOptions: RedisOptions = {
  connectTimeout: 2000,
  // A command that cannot be sent now fails now: quotas are then counted here.
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  retryStrategy: (attempt) => Math.min(attempt * 200, 2000),
};

export class RedisLink {
  readonly connection: Bottleneck.IORedisConnection;
  readonly #client: Redis;
  readonly #log: Logger;
  readonly #clock: Clock;
  #up = false;
  #reported = false;
  #closed = false;
  #stopProbe: (() => void) | undefined;

  constructor(client: Redis, log: Logger, clock: Clock = systemClock) {
    this.#client = client;
    this.#log = log;
    this.#clock = clock;
    this.connection = new Bottleneck.IORedisConnection({ client });
    unprefixScriptErrors(this.connection);
    client.on("error", (error) => this.fail(error));
    client.on("close", () => this.fail(new Error("the connection was closed")));
    client.on("ready", () => void this.#probe());
  }

  get up(): boolean {
    return this.#up;
  }

  /** Something that needs Redis went wrong: it is taken to be away until a probe says otherwise. */
  fail(error: unknown): void {
    if (this.#closed) return;
    this.#up = false;
    this.#stopProbe ??= this.#clock.after(probeEveryMs, () => {
      this.#stopProbe = undefined;
      void this.#probe();
    });
    if (this.#reported) return;
    this.#reported = true;
    // The message alone: an ioredis error also holds the command, which may be the one with the password.
    const reason = error instanceof Error ? error.message : String(error);
    this.#log.error({ reason }, "Redis (REDIS_URL) is away: this server counts quotas alone");
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#up = false;
    this.#stopProbe?.();
    await this.connection.disconnect(false);
  }

  /** Writes, because a Redis that only reads is of no use. */
  async #probe(): Promise<void> {
    try {
      await this.#client.set("llama-gguf-probe", 1, "PX", probeEveryMs);
      // A promise, whatever its types say.
      await (this.connection.ready as unknown as Promise<unknown>);
    } catch (error) {
      return this.fail(error);
    }
    if (this.#closed || this.#up) return;
    this.#up = true;
    this.#log.info(this.#reported ? "Redis is back: quotas are shared again" : "quotas are shared through Redis");
    this.#reported = false;
  }
}

type Reply = (error: Error | null, replies: unknown) => void;
type RunScript = (...argsAndReply: unknown[]) => void;

/**
 * bottleneck mends what Redis has forgotten (an idle limiter, a client not heard of for long) when a script's error says exactly so;
 * since version 7 Redis puts "ERR " before those words.
 */
function unprefixScriptErrors(connection: Bottleneck.IORedisConnection): void {
  const scripts = connection as unknown as { __scriptFn__: (name: string) => RunScript };
  const scriptOf = scripts.__scriptFn__.bind(connection);
  scripts.__scriptFn__ = (name) => {
    const run = scriptOf(name);
    return (...argsAndReply) => {
      const reply = argsAndReply.pop() as Reply;
      run(...argsAndReply, (error: Error | null, replies: unknown) => {
        if (error) error.message = error.message.replace(/^ERR (?=[A-Z_]+\b)/, "");
        reply(error, replies);
      });
    };
  };
}

/**
 * Begins to connect and does not wait for it.
 * @param load for tests @param commandTimeout milliseconds until Redis is taken to be away; tests of what it does there take longer
 * @throws ConfigError when the optional package is not installed
 */
export async function connectRedis(
  url: string,
  log: Logger,
  load: () => Promise<{ readonly Redis: typeof Redis }> = () => import("ioredis"),
  commandTimeout = commandTimeoutMs,
): Promise<RedisLink> {
  let module: { readonly Redis: typeof Redis };
  try {
    module = await load();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new ConfigError([
      "REDIS_URL: is set, but the optional package ioredis is not installed; npm install ioredis",
    ]);
  }
  return new RedisLink(new module.Redis(url, { ...clientOptions, commandTimeout }), log);
}
