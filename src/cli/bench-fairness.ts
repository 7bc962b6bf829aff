// `bench fairness`: reads the command line and prints; what is measured is in bench/fairness-bench.ts.
import { type Command, Option } from "commander";
import { benchFairness, type FairnessOptions, type FairnessResult, type Waits } from "../bench/fairness-bench.ts";
import { integer, serverUrl } from "./bench-options.ts";

type FairnessFlags = FairnessOptions & { readonly json?: true };
type Print = (text: string) => void;

export function registerFairnessBench(bench: Command, print: Print): void {
  bench
    .command("fairness")
    .description("what a key with a few calls waits beside one with many (raise the quotas of both)")
    .requiredOption("--url <url>", "the server, without /v1", serverUrl)
    .addOption(new Option("--key-a <key>", "sends the few").env("LLAMA_GGUF_API_KEY").makeOptionMandatory())
    .addOption(new Option("--key-b <key>", "sends the many").env("LLAMA_GGUF_API_KEY_B").makeOptionMandatory())
    .option("--few <n>", "calls of the first key", integer(1, 10_000), 5)
    .option("--many <n>", "calls of the second key", integer(1, 10_000), 50)
    .option("--max-tokens <n>", "length of every answer", integer(1, 1_000_000), 300)
    .option("--rounds <n>", "alone and beside the many, in turn", integer(1, 100), 3)
    .option("--stagger-ms <n>", "time between two calls of a key (0: all at once)", integer(0, 60_000), 0)
    .option(
      "--after-ms <n>",
      "the few begin so long after the many (default: spread over an answer)",
      integer(0, 600_000),
    )
    .option("--json", "print one JSON object")
    .action(async ({ json, ...options }: FairnessFlags) => {
      const result = await benchFairness(options);
      print(json ? JSON.stringify(result, null, 2) : fairnessTable(options, result));
    });
}

/** For people. */
export function fairnessTable(options: FairnessOptions, result: FairnessResult): string {
  const { few, many, maxTokens, staggerMs } = options;
  const { alone, beside, ratio, rounds } = result;
  const columns = (name: string, cells: readonly string[]) =>
    name.padEnd(26) + cells.map((cell) => cell.padStart(14)).join("");
  const row = (name: string, { latency, ttft }: Waits) =>
    columns(
      name,
      [latency.mean, latency.max, ttft.mean, ttft.max].map((ms) => ms.toFixed(0)),
    );
  const ofRounds = rounds.map((round) =>
    columns(`the few after ${round.afterMs.toFixed(0)} ms`, [
      round.alone.toFixed(0),
      round.beside.toFixed(0),
      (round.beside / round.alone).toFixed(2),
    ]),
  );
  return [
    `max tokens ${maxTokens}, rounds ${rounds.length}, stagger ms ${staggerMs}`,
    "",
    columns("milliseconds", ["latency mean", "max", "ttft mean", "max"]),
    row(`the ${few} alone`, alone),
    row(`the ${few} beside the ${many}`, beside),
    row(`the ${many}`, result.many),
    columns("beside / alone", [ratio.mean.toFixed(2), ratio.max.toFixed(2)]),
    "",
    columns("latency mean", ["alone", "beside", "ratio"]),
    ...ofRounds,
  ].join("\n");
}
