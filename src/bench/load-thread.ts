// The thread that makes load on a server: autocannon's requests, each timed, and slow clients beside them. In a thread of its own, so
// that what it does costs the server's thread nothing. Answers each job in its message port with what was measured.
import { parentPort } from "node:worker_threads";
import type { Options, Result } from "autocannon";
import { holdSlowClients } from "./slow-clients.ts";
import { summarise } from "./statistics.ts";

export type LoadJob = {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
  /** Clients that send or read next to nothing, held while the load runs. */
  readonly slowClients: number;
};

export type LoadResult = {
  readonly requestsPerSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly count: number;
  /** Answers without a 2xx, and connections that broke. */
  readonly failed: number;
};

async function runLoad(job: LoadJob): Promise<LoadResult> {
  // A development dependency: whoever installs the program to serve models does not need it.
  const { default: autocannon } = await import("autocannon");
  const release = await holdSlowClients(job);
  try {
    if (job.slowClients > 0) await settle(autocannon, job);
    return await fire(autocannon, job);
  } finally {
    release();
  }
}

/** Until the slow readers' buffers are full, the server works for them as for anybody: waits while it is becoming faster. */
async function settle(autocannon: typeof import("autocannon"), job: LoadJob): Promise<void> {
  let before = 0;
  for (let second = 0; second < 30; second++) {
    const { count } = await fire(autocannon, { ...job, seconds: 1 });
    if (count > 0 && count < before * 1.1) return;
    before = count;
  }
}

async function fire(autocannon: typeof import("autocannon"), job: LoadJob): Promise<LoadResult> {
  const { connections, seconds, headers, body } = job;
  const url = `http://127.0.0.1:${job.port}${job.path}`;
  const times: number[] = [];
  const { errors, non2xx, duration } = await new Promise<Result>((resolve, reject) => {
    const options: Options = { url, method: "POST", headers, body, connections, duration: seconds };
    const load = autocannon(options, (error: Error | null, result: Result) =>
      error ? reject(error) : resolve(result),
    );
    // Its own histogram knows whole milliseconds only.
    load.on("response", (_client, _status, _bytes, milliseconds) => times.push(milliseconds));
  });
  const { p50, p99, count } = summarise(times);
  return { requestsPerSecond: count / duration, p50, p99, count, failed: errors + non2xx };
}

parentPort?.on("message", (job: LoadJob) => {
  runLoad(job).then(
    (result) => parentPort?.postMessage({ result }),
    (error: Error) => parentPort?.postMessage({ problem: error.message }),
  );
});
