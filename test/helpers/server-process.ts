// The whole program as a child process, with ports, a data directory and a key of its own.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import OpenAI from "openai";
import { packageRoot } from "../../src/paths.ts";
import { freePorts, startNode, type TestProcess } from "./process.ts";

export const processKey = "sk-main-test-0123456789abcdef";

export type ServerProcess = {
  readonly process: TestProcess;
  readonly port: number;
  readonly health: number;
  /** DATA_DIR, and the working directory. */
  readonly dir: string;
};

/** Starts `node <args>` as a server on two free ports of 127.0.0.1. @param dir a new data directory unless given */
export async function startServerProcess(
  t: ExecutionContext,
  args: readonly string[],
  env: Record<string, string> = {},
  dir: string = mkdtempSync(join(tmpdir(), "server-")),
): Promise<ServerProcess> {
  const [port, health] = (await freePorts(2)) as [number, number];
  writeFileSync(join(dir, "api_keys.txt"), `test:${processKey}\n`, { mode: 0o600 });
  const started = startNode(t, args, {
    cwd: dir,
    env: { HOST: "127.0.0.1", PORT: `${port}`, PORT_HEALTH: `${health}`, DATA_DIR: dir, INSTANCE_ID: "test", ...env },
  });
  return { process: started, port, health, dir };
}

const cli = join(packageRoot, "dist", "src", "cli", "llama-gguf.js");

/** `llama-gguf start`. */
export const startCli = (t: ExecutionContext, env: Record<string, string> = {}, dir?: string): Promise<ServerProcess> =>
  startServerProcess(t, [cli, "start"], env, dir);

/** `llama-gguf start` on the demo model, ready, and the official client for it. Retries are off: a test wants the first answer. */
export async function startDemo(t: ExecutionContext, env: Record<string, string> = {}, dir?: string) {
  const server = await startCli(t, { GPU: "cpu", THREADS: "1", ...env }, dir);
  await server.process.waitFor(/ info ready /);
  const client = new OpenAI({ baseURL: `http://127.0.0.1:${server.port}/v1`, apiKey: processKey, maxRetries: 0 });
  return { ...server, client };
}
