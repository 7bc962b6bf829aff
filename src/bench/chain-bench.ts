// What the chain of middleware costs a request, link by link, with the mock engine behind it; and what 500 slow clients cost the
// others. Runs the servers here and the load in another thread.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { body, headers, type Link, links, path, startLink, wholeChain } from "./chain-servers.ts";
import type { LoadJob, LoadResult } from "./load-thread.ts";

export type ChainBenchOptions = {
  /** Requests under way at once. */
  readonly connections: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Measurements of each server; the one with the best p50 counts. */
  readonly rounds: number;
  /** Beside the load, in a measurement of the whole chain of its own; 0 = none. */
  readonly slowClients: number;
};

/** Times in milliseconds. */
export type LinkResult = {
  readonly link: Link;
  readonly requestsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** What this link adds to the p50 of the one before. */
  readonly addedP50: number;
};

export type SlowResult = { readonly slowClients: number; readonly alone: LoadResult; readonly beside: LoadResult };

export type ChainBenchResult = {
  readonly links: readonly LinkResult[];
  /** p50 of the whole chain over that of Node alone. */
  readonly chainP50: number;
  readonly slow?: SlowResult;
};

/** @throws Error when a request failed, or autocannon is not installed */
export async function benchChain(options: ChainBenchOptions): Promise<ChainBenchResult> {
  const folder = mkdtempSync(join(tmpdir(), "llama-gguf-bench-"));
  const load = new LoadThread();
  try {
    const measured = await measureLinks(options, folder, load);
    const first = measured[0]!;
    const slow = options.slowClients > 0 ? await measureSlow(options, folder, load) : undefined;
    return { links: measured, chainP50: measured.at(-1)!.p50 - first.p50, ...(slow && { slow }) };
  } finally {
    await load.end();
    rmSync(folder, { recursive: true });
  }
}

/** All servers in turn, again and again, so that a busy moment of the machine does not fall on one of them alone. */
async function measureLinks(options: ChainBenchOptions, folder: string, load: LoadThread): Promise<LinkResult[]> {
  const rounds: LoadResult[][] = links.map(() => []);
  for (let round = -1; round < options.rounds; round++) {
    for (const [index, link] of links.entries()) {
      const server = await startLink(link, folder, Math.max(4, options.connections));
      // The round before the first only warms up.
      const seconds = round < 0 ? Math.min(1, options.seconds) : options.seconds;
      const result = await load.run({ ...jobFor(server.port, options), seconds });
      await server.close();
      if (round >= 0) rounds[index]!.push(result);
    }
  }
  const best = links.map((link, index) => ({ link, ...bestOf(rounds[index]!) }));
  return best.map((result, index) => ({ ...result, addedP50: result.p50 - (best[index - 1] ?? result).p50 }));
}

async function measureSlow(options: ChainBenchOptions, folder: string, load: LoadThread): Promise<SlowResult> {
  const { slowClients } = options;
  // A stopped reader of a long answer may keep its sequence until REQUEST_TIMEOUT; these leave some for the others.
  const server = await startLink(wholeChain, folder, slowClients + options.connections);
  const job = jobFor(server.port, options);
  try {
    await load.run({ ...job, seconds: 1 });
    const alone = await load.run(job);
    return { slowClients, alone, beside: await load.run({ ...job, slowClients }) };
  } finally {
    await server.close();
  }
}

function jobFor(port: number, { connections, seconds }: ChainBenchOptions): LoadJob {
  return { port, path, headers, body, connections, seconds, slowClients: 0 };
}

/** Whatever else the machine does makes a measurement worse, never better. */
function bestOf(results: readonly LoadResult[]): { requestsPerSecond: number; p50: number; p99: number } {
  const [{ requestsPerSecond, p50, p99 }] = results.toSorted((a, b) => a.p50 - b.p50) as [LoadResult];
  return { requestsPerSecond, p50, p99 };
}

class LoadThread {
  readonly #worker = new Worker(new URL("./load-thread.js", import.meta.url));

  /** @throws Error when a request failed */
  async run(job: LoadJob): Promise<LoadResult> {
    this.#worker.postMessage(job);
    const [{ result, problem }] = (await once(this.#worker, "message")) as [{ result?: LoadResult; problem?: string }];
    if (!result) throw new Error(`the load could not be made (is autocannon installed? npm ci does that): ${problem}`);
    if (result.failed > 0 || result.count === 0) throw new Error(`${result.failed} of ${result.count} requests failed`);
    return result;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
