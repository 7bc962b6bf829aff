// A real redis-server on a free port of 127.0.0.1, without files. It can be stopped and started again, empty.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import type { ExecutionContext } from "ava";
import { freePorts, TestProcess } from "./process.ts";

export const hasRedisServer = spawnSync("redis-server", ["--version"]).status === 0;
export const noRedisServer = "no redis-server here; Debian has it in the package redis-server";

export class TestRedis {
  readonly #port: number;
  #child: ChildProcess | undefined;
  #process: TestProcess | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  /** @param options further ones of its command line */
  async start(...more: string[]): Promise<void> {
    const options = ["--port", String(this.#port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...more];
    this.#child = spawn("redis-server", options, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = new TestProcess(this.#child);
    await this.#process.waitFor(/Ready to accept connections/);
  }

  /** It takes no commands but keeps its connections, like a network that swallows everything. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }
  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#process?.ended;
    this.#child = undefined;
  }
}

/** Stopped when the test ends. */
export async function startRedis(t: ExecutionContext, running = true): Promise<TestRedis> {
  const [port] = await freePorts(1);
  const redis = new TestRedis(port!);
  t.teardown(() => redis.stop());
  if (running) await redis.start();
  return redis;
}
