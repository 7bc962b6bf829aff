// A llama-server as a child process on a loopback port, one slot and one thread: the peer that samples are recorded from.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export class LlamaServer {
  readonly #child: ChildProcess;
  readonly #url: string;

  constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.#url = url;
  }

  /** @throws Error when it ends before it listens */
  static async start(binary: string, modelPath: string): Promise<LlamaServer> {
    const port = await freePort();
    const place = ["--host", "127.0.0.1", "--port", String(port)];
    const args = ["-m", modelPath, ...place, "-t", "1", "-tb", "1", "-np", "1", "-c", "1024", "--jinja"];
    const env = { ...process.env, LD_LIBRARY_PATH: dirname(binary) };
    const child = spawn(binary, args, { stdio: ["ignore", "ignore", "ignore"], env });
    const server = new LlamaServer(child, `http://127.0.0.1:${port}`);
    while (!(await server.#healthy())) {
      if (child.exitCode !== null) throw new Error(`${binary} ended with exit code ${child.exitCode}`);
      await sleep(100);
    }
    return server;
  }

  /** @throws Error with the answer when it is not 200 */
  async post<T>(path: string, body: object): Promise<T> {
    const response = await fetch(this.#url + path, { method: "POST", body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`llama-server answers ${response.status}: ${text}`);
    return JSON.parse(text) as T;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#child.kill();
    await exit;
  }

  async #healthy(): Promise<boolean> {
    return fetch(`${this.#url}/health`).then(
      (response) => response.ok,
      () => false,
    );
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
