// Child processes of tests: started, watched through what they print, asked over HTTP, and always ended by their own id.
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { request } from "node:http";
import { createServer } from "node:net";
import type { ExecutionContext } from "ava";

export type Ended = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export class TestProcess {
  readonly #child: ChildProcess;
  #output = "";
  /** Settled once the process is gone and all of its output has been read. */
  readonly ended: Promise<Ended>;

  constructor(child: ChildProcess) {
    this.#child = child;
    const collect = (chunk: string) => {
      this.#output += chunk;
    };
    child.stdout?.setEncoding("utf8").on("data", collect);
    child.stderr?.setEncoding("utf8").on("data", collect);
    this.ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  }

  /** Everything printed so far, stdout and stderr. */
  get output(): string {
    return this.#output;
  }
  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits until the output matches. Rejects, with the output, when the process ends without. */
  waitFor(pattern: RegExp): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = this.#output.match(pattern);
        if (match) resolve(match);
      };
      this.#child.stdout?.on("data", look);
      this.#child.stderr?.on("data", look);
      look();
      void this.ended.then(() => reject(new Error(`ended without printing ${pattern}:\n${this.#output}`)));
    });
  }

  writeLine(text: string): void {
    this.#child.stdin?.write(`${text}\n`);
  }
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** Starts `node <args>` with nothing of this process's environment but PATH, HOME and AddressSanitizer; killed when the test ends. */
export function startNode(
  t: ExecutionContext,
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): TestProcess {
  const { PATH = "", HOME = "", LD_PRELOAD, ASAN_OPTIONS } = process.env;
  const sanitizer = LD_PRELOAD?.includes("libasan") ? { LD_PRELOAD, ASAN_OPTIONS: ASAN_OPTIONS ?? "" } : {};
  const child = spawn(process.execPath, ["--enable-source-maps", ...args], {
    cwd: options.cwd,
    env: { PATH, HOME, ...sanitizer, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const started = new TestProcess(child);
  t.teardown(async () => {
    child.kill("SIGKILL");
    await started.ended;
  });
  return started;
}

/**
 * Different ports of 127.0.0.1 that nobody listens on at this moment. Below the range that the kernel gives out by itself, so that
 * no other test takes one by accident before it is used.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(10_000, 32_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

/** One request on a connection of its own. Rejects when nobody listens or the connection breaks. */
export function ask(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { method = "GET", headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

/** Asks again and again until the condition holds; the test runner's own deadline ends a wait that never does. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}
