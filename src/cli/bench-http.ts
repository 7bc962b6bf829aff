// `bench http` and `bench compare`: reads the command line and prints; what is measured is in bench/http-bench.ts.
import { type Command, Option } from "commander";
import { benchHttp, type HttpBenchOptions, type HttpBenchResult } from "../bench/http-bench.ts";
import type { Target } from "../bench/http-client.ts";
import type { ServerWork } from "../bench/server-work.ts";
import { percentile, type Summary } from "../bench/statistics.ts";
import { fractionOption, integer, positive, serverUrl } from "./bench-options.ts";

type LoadFlags = {
  readonly prompt?: string;
  readonly promptWords: number;
  readonly prompts: "unique" | "shared";
  readonly maxTokens: number;
  readonly minTokens?: number;
  readonly ignoreEos?: true;
  readonly requests: number;
  readonly warmup: number;
  readonly concurrency: number;
  readonly rate?: number;
  readonly cancel: number;
  readonly intruderWords?: number;
  readonly goodTtftMs: number;
  readonly endpoint: Target["endpoint"];
  readonly seed: number;
  readonly output: "text" | "json";
};

type HttpFlags = LoadFlags & { readonly url: URL; readonly apiKey?: string; readonly allowMock?: true };
type CompareFlags = LoadFlags & {
  readonly ours: URL;
  readonly peer: URL;
  readonly oursKey?: string;
  readonly peerKey?: string;
  readonly rounds: number;
};

export function registerHttpBench(bench: Command): void {
  addLoadOptions(
    bench
      .command("http")
      .description("latency and throughput of any OpenAI-compatible server")
      .requiredOption("--url <url>", "the server, without /v1", serverUrl)
      .addOption(new Option("--api-key <key>", "its key").env("LLAMA_GGUF_API_KEY"))
      .option("--allow-mock", "accept answers of the mock engine"),
  ).action(runHttp);
  addLoadOptions(
    bench
      .command("compare")
      .description("the same load on this server and another one in turn, with ratios pair by pair")
      .requiredOption("--ours <url>", "this server", serverUrl)
      .requiredOption("--peer <url>", "the other server", serverUrl)
      .addOption(new Option("--ours-key <key>", "this server's key").env("LLAMA_GGUF_API_KEY"))
      .option("--peer-key <key>", "the other server's key")
      .option("--rounds <n>", "pairs of measurements", integer(1, 100), 5),
  ).action(runCompare);
}

function addLoadOptions(command: Command): Command {
  return command
    .option("--prompt <text>", "what every request asks (default: made-up words)")
    .option("--prompt-words <n>", "words of a made-up prompt", integer(1, 100_000), 50)
    .addOption(new Option("--prompts <kind>", "made-up prompts").choices(["unique", "shared"]).default("unique"))
    .option("--max-tokens <n>", "length of an answer", integer(1, 1_000_000), 128)
    .option("--min-tokens <n>", "answers of a random length from this to --max-tokens", integer(1, 1_000_000))
    .option("--ignore-eos", "go on past end tokens, so that every answer has --max-tokens")
    .option("--requests <n>", "measured requests", integer(1, 1_000_000), 10)
    .option("--warmup <n>", "requests before them", integer(0, 10_000), 1)
    .option("--concurrency <n>", "requests at once", integer(1, 10_000), 1)
    .option("--rate <n>", "arrivals per second at random, instead of a fixed number at once", positive)
    .option("--cancel <share>", "share of requests that leave in the middle", fractionOption, 0)
    .option("--intruder-words <n>", "one prompt of this many words arrives amid the first streams", integer(1, 100_000))
    .option("--good-ttft-ms <n>", "goodput counts requests whose first token came within this", positive, 1000)
    .addOption(new Option("--endpoint <name>", "route").choices(["chat", "completions"]).default("chat"))
    .option("--seed <n>", "of prompts and arrivals", integer(0, 2 ** 31), 1)
    .addOption(new Option("--output <form>", "form of the result").choices(["text", "json"]).default("text"));
}

function loadOf(flags: LoadFlags, url: URL, apiKey: string | undefined, seed: number): HttpBenchOptions {
  const {
    endpoint,
    ignoreEos = false,
    prompt,
    rate,
    output,
    intruderWords,
    minTokens = flags.maxTokens,
    ...load
  } = flags;
  if (minTokens > flags.maxTokens) throw new Error(`--min-tokens ${minTokens} is more than --max-tokens`);
  const onProgress = output === "text" && process.stderr.isTTY ? progressOf(flags.requests) : () => {};
  return {
    ...load,
    minTokens,
    prompt,
    rate,
    intruderWords,
    ignoreEos,
    target: { url, apiKey, endpoint },
    seed,
    onProgress,
  };
}

function progressOf(total: number): (done: number) => void {
  const width = 40;
  return (done) => {
    const filled = Math.round((done / total) * width);
    const bar = "#".repeat(filled).padEnd(width, ".");
    process.stderr.write(`\r${bar} ${done}/${total}${done === total ? "\n" : ""}`);
  };
}

async function runHttp(flags: HttpFlags): Promise<void> {
  const result = await benchHttp(loadOf(flags, flags.url, flags.apiKey, flags.seed));
  console.log(flags.output === "json" ? JSON.stringify(result, null, 2) : render(result));
  if (result.requests_failed > 0)
    throw new Error(`${result.requests_failed} requests failed: ${result.problems.join("; ")}`);
  if (result.model === "mock" && !flags.allowMock)
    throw new Error("the mock engine answered; --allow-mock accepts that");
}

async function runCompare(flags: CompareFlags): Promise<void> {
  const pairs: { ours: HttpBenchResult; peer: HttpBenchResult }[] = [];
  for (let round = 0; round < flags.rounds; round++) {
    const seed = flags.seed + round;
    const ours = await benchHttp(loadOf(flags, flags.ours, flags.oursKey, seed));
    pairs.push({ ours, peer: await benchHttp(loadOf(flags, flags.peer, flags.peerKey, seed)) });
  }
  const problems = pairs.flatMap(({ ours, peer }) => [
    ...ours.problems.map((problem) => `ours: ${problem}`),
    ...peer.problems.map((problem) => `peer: ${problem}`),
  ]);
  console.log(flags.output === "json" ? JSON.stringify({ pairs }, null, 2) : renderRatios(pairs));
  if (problems.length > 0) throw new Error(`requests failed: ${[...new Set(problems)].join("; ")}`);
}

const ms = (value: number) => value.toFixed(value < 10 ? 2 : 1).padStart(10);

function render(result: HttpBenchResult): string {
  const row = (name: string, { p50, p90, p99, mean, max }: Summary) =>
    name.padEnd(26) + [p50, p90, p99, mean, max].map(ms).join("");
  const { requests_success: success, requests_total: total, requests_cancelled: left, server, intruder } = result;
  return [
    `${"milliseconds".padEnd(26)}       p50       p90       p99      mean       max`,
    row("time to first token", result.ttft),
    row("between tokens", result.itl),
    row("per token of an answer", result.tpot),
    row("end to end", result.total_latency),
    ...(intruder
      ? [`long prompt               ${ms(intruder.ttft)} to its first token, of ${intruder.prompt_tokens} tokens`]
      : []),
    `tokens per second         ${ms(result.tokens_per_sec)}`,
    `good requests per second  ${ms(result.goodput)}`,
    `${success} of ${total} finished, ${left} left on purpose, ${result.requests_failed} failed, in ${result.wall_time.toFixed(1)} s`,
    ...(server ? [renderServer(server)] : []),
  ].join("\n");
}

function renderServer(server: ServerWork): string {
  const { main_thread_cpu_us_per_token: cpu } = server;
  return [
    ...(cpu === null ? [] : [`main thread, CPU time     ${ms(cpu)} us a token`]),
    `main thread, not idle     ${ms(server.main_thread_us_per_token)} us a token`,
    `event loop lag p99        ${ms(server.event_loop_lag_p99)} ms`,
    `compute passes            ${ms(server.passes_per_step)} a step`,
    `growth in RAM             ${ms(server.rss_bytes_per_request)} bytes a request`,
  ].join("\n");
}

/** Ours over the peer's, pair by pair: above 1 is better for speeds, below 1 for times. */
function renderRatios(pairs: readonly { ours: HttpBenchResult; peer: HttpBenchResult }[]): string {
  const row = (name: string, pick: (result: HttpBenchResult) => number) => {
    const ratios = pairs.map(({ ours, peer }) => pick(ours) / pick(peer)).sort((a, b) => a - b);
    const [least, middle, most] = [ratios[0]!, percentile(ratios, 50), ratios.at(-1)!];
    const cells = [least, middle, most].map((ratio) => ratio.toFixed(2).padStart(10));
    return name.padEnd(26) + cells.join("");
  };
  return [
    `${"ours / peer".padEnd(26)}       min    median       max`,
    row("tokens per second", (result) => result.tokens_per_sec),
    row("time to first token p50", (result) => result.ttft.p50),
    row("decoding speed per stream", (result) => 1 / result.tpot.mean),
    row("between tokens mean", (result) => result.itl.mean),
    row("between tokens p99", (result) => result.itl.p99),
    row("end to end p50", (result) => result.total_latency.p50),
  ].join("\n");
}
