// `bench reader`: reads the command line and prints; what is measured is in bench/reader-bench.ts.
import type { Command } from "commander";
import { benchReader } from "../bench/reader-bench.ts";
import { integer, integers } from "./bench-options.ts";

type ReaderFlags = { readonly tokens: number[]; readonly rounds: number; readonly json?: true };

export function registerReaderBench(bench: Command, print: (text: string) => void): void {
  bench
    .command("reader")
    .description("what taking long answers apart (reasoning, text, tool calls) costs the main thread for each token")
    .option("--tokens <list>", "lengths of the answers", integers(1, 100_000), [500, 2000, 4000])
    .option("--rounds <n>", "readings of each answer; the fastest counts", integer(1, 100), 3)
    .option("--json", "print one JSON object")
    .action(async ({ tokens, rounds, json }: ReaderFlags) => {
      const costs = await benchReader(tokens, rounds);
      if (json) return print(JSON.stringify({ rounds, costs }, null, 2));
      print(columns(["answer", "tokens", "us a token", "longest ms"]));
      for (const cost of costs)
        print(columns([cost.kind, String(cost.tokens), cost.microseconds.toFixed(1), cost.longestMs.toFixed(2)]));
    });
}

const columns = ([name, ...cells]: readonly string[]) =>
  `${name!.padEnd(24)}${cells.map((cell) => cell.padStart(12)).join("")}`;
