// `bench fairness`: what a key with a few calls waits beside a key with many, compared with what it waits alone.
import { setTimeout as sleep } from "node:timers/promises";
import { type Target, type Timed, timeRequest } from "./http-client.ts";
import { type Summary, summarise } from "./statistics.ts";

export type FairnessOptions = {
  readonly url: URL;
  /** Of the key that sends few calls, and of the one that sends many. */
  readonly keyA: string;
  readonly keyB: string;
  readonly few: number;
  readonly many: number;
  /** Of every answer. */
  readonly maxTokens: number;
  readonly rounds: number;
  /** Between two calls of a key; 0: all at once. */
  readonly staggerMs: number;
  /** From the first of the many to the first of the few. Absent: spread evenly over the length of an answer, another in each round. */
  readonly afterMs?: number;
};

/** Milliseconds. */
export type Waits = { readonly latency: Summary; readonly ttft: Summary };

export type FairnessResult = {
  readonly alone: Waits;
  readonly beside: Waits;
  readonly many: Waits;
  /** Beside over alone. */
  readonly ratio: { readonly mean: number; readonly max: number };
  /** Mean latency in each round, and when the few began in it. */
  readonly rounds: readonly { readonly afterMs: number; readonly alone: number; readonly beside: number }[];
};

type Calls = { readonly name: string; readonly apiKey: string; readonly count: number };

/** @throws when a call fails: the others would have had its place */
export async function benchFairness(options: FairnessOptions): Promise<FairnessResult> {
  const { keyA, keyB, few, many, rounds, afterMs } = options;
  const all = { alone: [] as Timed[][], beside: [] as Timed[][], many: [] as Timed[][] };
  const after: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    const calls = { name: `a few, round ${round}`, apiKey: keyA, count: few };
    const alone = await send(options, { ...calls, name: `${calls.name}, alone` });
    const startMs = afterMs ?? ((round - 0.5) / rounds) * Math.min(...alone.map(({ totalMs }) => totalMs));
    const flood = send(options, { name: `many, round ${round}`, apiKey: keyB, count: many });
    const beside = sleep(startMs).then(() => send(options, calls));
    const [ofMany, ofFew] = await Promise.all([flood, beside]);
    after.push(startMs);
    all.alone.push(alone);
    all.many.push(ofMany);
    all.beside.push(ofFew);
  }
  const [alone, beside] = [waitsOf(all.alone.flat()), waitsOf(all.beside.flat())];
  const meanOf = (timed: Timed[]) => waitsOf(timed).latency.mean;
  return {
    alone,
    beside,
    many: waitsOf(all.many.flat()),
    ratio: { mean: beside.latency.mean / alone.latency.mean, max: beside.latency.max / alone.latency.max },
    rounds: after.map((startMs, round) => ({
      afterMs: startMs,
      alone: meanOf(all.alone[round]!),
      beside: meanOf(all.beside[round]!),
    })),
  };
}

/** Prompts that begin differently: nothing is saved by the prefix cache. */
async function send({ url, maxTokens, staggerMs }: FairnessOptions, { name, apiKey, count }: Calls): Promise<Timed[]> {
  const target: Target = { url, apiKey, endpoint: "chat" };
  const calls = Array.from({ length: count }, async (_, i) => {
    await sleep(i * staggerMs);
    return timeRequest(target, { prompt: `${i + 1} of ${name}: what is new?`, maxTokens, ignoreEos: true });
  });
  const timed = await Promise.all(calls);
  const problems = new Set(timed.flatMap(({ problem }) => (problem === undefined ? [] : [problem])));
  if (problems.size > 0) throw new Error(`calls failed: ${[...problems].join("; ")}`);
  return timed;
}

const waitsOf = (timed: readonly Timed[]): Waits => ({
  latency: summarise(timed.map(({ totalMs }) => totalMs)),
  ttft: summarise(timed.map(({ ttftMs }) => ttftMs)),
});
