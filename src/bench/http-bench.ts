// `bench http`: a load of streamed requests on a server, and what came of it. `bench compare` runs it on two servers in turn.
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { type Ask, keptConnections, type Target, type Timed, timeRequest } from "./http-client.ts";
import { RandomBytes } from "./random-bytes.ts";
import { readServer, type ServerWork, workBetween } from "./server-work.ts";
import { type Summary, summarise } from "./statistics.ts";

export type HttpBenchOptions = {
  readonly target: Target;
  /** Asked by every request, or undefined: prompts of words. */
  readonly prompt: string | undefined;
  /** Words of a made-up prompt. */
  readonly promptWords: number;
  /** unique: no two prompts begin alike; shared: all are the same one. */
  readonly prompts: "unique" | "shared";
  readonly maxTokens: number;
  /** Shortest answer asked for; answers have a random number of tokens from here to maxTokens. */
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly requests: number;
  readonly warmup: number;
  /** Requests under way at once in a closed loop. */
  readonly concurrency: number;
  /** Poisson arrivals per second; undefined: closed loop. */
  readonly rate: number | undefined;
  /** Share of requests that leave in the middle of their answer, 0 to 1. */
  readonly cancel: number;
  /** Words of one more prompt that arrives once all streams of the first wave have begun; undefined: none does. */
  readonly intruderWords: number | undefined;
  /** A request is good when its first token came within this many milliseconds. */
  readonly goodTtftMs: number;
  readonly seed: number;
  readonly onProgress: (done: number) => void;
};

export type HttpBenchResult = {
  readonly ttft: Summary;
  readonly itl: Summary;
  /** Of each answer: from its first content to its last, per token. */
  readonly tpot: Summary;
  readonly total_latency: Summary;
  /** Generated tokens of all requests over the wall time. */
  readonly tokens_per_sec: number;
  /** Good requests per second. */
  readonly goodput: number;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  readonly completion_tokens: number;
  readonly requests_total: number;
  readonly requests_success: number;
  readonly requests_cancelled: number;
  readonly requests_failed: number;
  /** Seconds. */
  readonly wall_time: number;
  readonly concurrency: number;
  readonly model: string;
  /** The long prompt that arrived amid the others; not in the figures above. */
  readonly intruder?: { readonly ttft: number; readonly prompt_tokens: number };
  /** Of a server that tells. */
  readonly server?: ServerWork;
  /** Why requests failed, each reason once. */
  readonly problems: readonly string[];
};

/** Times in milliseconds. Failed requests are counted, never thrown. */
export async function benchHttp(given: HttpBenchOptions): Promise<HttpBenchResult> {
  const connections = keptConnections();
  const options = { ...given, target: { ...given.target, connections } };
  const random = new RandomBytes(options.seed, 0);
  for (let i = 0; i < options.warmup; i++) await timeRequest(options.target, nextAsk(options, random, false));
  const before = await readServer(options.target);
  const began = performance.now();
  const intruder = new Intruder(options, random);
  const results = await runLoad(options, random, () => intruder.streamBegan());
  const seconds = (performance.now() - began) / 1000;
  const late = await intruder.result;
  const server = workBetween(before, await readServer(options.target), results.length);
  connections.destroy();
  return { ...report(options, results, seconds), ...(late && withIntruder(late, results)), ...(server && { server }) };
}

async function runLoad(options: HttpBenchOptions, random: RandomBytes, onFirst: () => void): Promise<Timed[]> {
  const results: Timed[] = [];
  const one = async () => {
    const ask = nextAsk(options, random, fraction(random) < options.cancel);
    results.push(await timeRequest(options.target, { ...ask, onFirst }));
    options.onProgress(results.length);
  };
  await (options.rate === undefined ? closedLoop(options, one) : poisson(options.requests, options.rate, random, one));
  return results;
}

/** One long prompt that arrives amid streams under way; one token of its answer is enough. */
class Intruder {
  result: Promise<Timed | undefined> = Promise.resolve(undefined);
  readonly #options: HttpBenchOptions;
  readonly #random: RandomBytes;
  #began = 0;

  constructor(options: HttpBenchOptions, random: RandomBytes) {
    this.#options = options;
    this.#random = random;
  }

  /** It comes when this many streams have begun: those of the first wave. */
  streamBegan(): void {
    const { intruderWords: promptWords, concurrency, target } = this.#options;
    if (promptWords === undefined || ++this.#began !== concurrency) return;
    const ask = nextAsk({ ...this.#options, promptWords, prompts: "unique", prompt: undefined }, this.#random, false);
    this.result = timeRequest(target, { ...ask, maxTokens: 1 });
  }
}

/** A failed one is a failed request. */
function withIntruder({ outcome, problem, ttftMs, promptTokens }: Timed, results: readonly Timed[]) {
  if (outcome === "finished") return { intruder: { ttft: ttftMs, prompt_tokens: promptTokens } };
  const failed = results.filter((result) => result.outcome === "failed");
  const problems = [...failed.map((result) => result.problem ?? ""), `the long prompt: ${problem}`];
  return { requests_failed: failed.length + 1, problems: [...new Set(problems)] };
}

/** A new request for every one that ends. */
async function closedLoop({ requests, concurrency }: HttpBenchOptions, one: () => Promise<void>): Promise<void> {
  let left = requests;
  const client = async () => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: concurrency }, client));
}

/** Requests arrive at random, whatever happened to those before. */
async function poisson(requests: number, rate: number, random: RandomBytes, one: () => Promise<void>): Promise<void> {
  const open: Promise<void>[] = [];
  for (let i = 0; i < requests; i++) {
    open.push(one());
    await sleep((-Math.log(1 - fraction(random)) / rate) * 1000);
  }
  await Promise.all(open);
}

const fraction = (random: RandomBytes) => random.below(1_000_000) / 1_000_000;

const words =
  "time river stone house light green morning letter window garden silver bread music number winter road".split(" ");

function nextAsk(options: HttpBenchOptions, random: RandomBytes, cancel: boolean): Ask {
  const { prompt, prompts, promptWords, minTokens, ignoreEos } = options;
  const maxTokens = minTokens + random.below(options.maxTokens - minTokens + 1);
  const source = prompts === "shared" ? new RandomBytes(options.seed, 1) : random;
  const made = () => Array.from({ length: promptWords }, () => words[source.below(words.length)]).join(" ");
  const cancelAfter = cancel ? Math.max(1, Math.floor(maxTokens / 2)) : undefined;
  return { prompt: prompt ?? made(), maxTokens, ignoreEos, ...(cancelAfter && { cancelAfter }) };
}

function report(options: HttpBenchOptions, results: readonly Timed[], wallTime: number): HttpBenchResult {
  const finished = results.filter(({ outcome }) => outcome === "finished");
  const count = (outcome: Timed["outcome"]) => results.filter((result) => result.outcome === outcome).length;
  const sum = (pick: (result: Timed) => number) => finished.reduce((total, result) => total + pick(result), 0);
  return {
    ttft: summarise(finished.map(({ ttftMs }) => ttftMs)),
    itl: summarise(finished.flatMap(({ gapsMs }) => gapsMs)),
    tpot: summarise(finished.flatMap(({ perTokenMs }) => (perTokenMs > 0 ? [perTokenMs] : []))),
    total_latency: summarise(finished.map(({ totalMs }) => totalMs)),
    tokens_per_sec: sum(({ completionTokens }) => completionTokens) / wallTime,
    goodput: finished.filter(({ ttftMs }) => ttftMs <= options.goodTtftMs).length / wallTime,
    prompt_tokens: sum(({ promptTokens }) => promptTokens),
    cached_tokens: sum(({ cachedTokens }) => cachedTokens),
    completion_tokens: sum(({ completionTokens }) => completionTokens),
    requests_total: results.length,
    requests_success: finished.length,
    requests_cancelled: count("cancelled"),
    requests_failed: count("failed"),
    wall_time: wallTime,
    concurrency: options.concurrency,
    model: finished[0]?.model ?? "",
    problems: [...new Set(results.flatMap(({ problem }) => (problem === undefined ? [] : [problem])))],
  };
}
