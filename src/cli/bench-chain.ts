// `bench chain`: reads the command line and prints; what is measured is in bench/chain-bench.ts.
import type { Command } from "commander";
import { benchChain, type ChainBenchOptions, type ChainBenchResult, type SlowResult } from "../bench/chain-bench.ts";
import { integer, positive } from "./bench-options.ts";

type ChainFlags = ChainBenchOptions & { readonly json?: true };
type Print = (text: string) => void;

export function registerChainBench(bench: Command, print: Print): void {
  bench
    .command("chain")
    .description("what each link of the middleware costs a request, over the mock engine")
    .option("--connections <n>", "requests under way at once", integer(1, 1000), 1)
    .option("--seconds <n>", "length of each measurement", positive, 3)
    .option("--rounds <n>", "measurements of each server; the one with the best p50 counts", integer(1, 100), 3)
    .option("--slow-clients <n>", "also measure the whole chain beside this many slow clients", integer(0, 5000), 0)
    .option("--json", "print one JSON object")
    .action(async ({ json, ...options }: ChainFlags) => {
      const result = await benchChain(options);
      print(json ? JSON.stringify({ ...options, ...result }, null, 2) : chainTable(options, result));
    });
}

const columns = (cells: readonly string[]) => cells.map((cell) => cell.padStart(14)).join("");
const ms = (milliseconds: number) => milliseconds.toFixed(3);

/** For people: one line for each link. */
export function chainTable(options: ChainBenchOptions, { links, chainP50, slow }: ChainBenchResult): string {
  const { connections, seconds, rounds } = options;
  const rows = links.map(({ link, requestsPerSecond, p50, p99, addedP50 }) => {
    const share = chainP50 > 0 && link !== "node" ? `${Math.round((100 * addedP50) / chainP50)} %` : "-";
    return columns([link, requestsPerSecond.toFixed(0), ms(p50), ms(p99), link === "node" ? "-" : ms(addedP50), share]);
  });
  return [
    `connections ${connections}, seconds ${seconds}, rounds ${rounds}; each server has its link and those above it`,
    "",
    columns(["link", "requests/s", "p50 ms", "p99 ms", "added p50 ms", "share"]),
    ...rows,
    "",
    `the whole chain adds ${ms(chainP50)} ms at p50`,
    ...(slow ? ["", ...slowLines(slow)] : []),
  ].join("\n");
}

function slowLines({ slowClients, alone, beside }: SlowResult): string[] {
  return [
    `the whole chain alone: p50 ${ms(alone.p50)} ms, p99 ${ms(alone.p99)} ms`,
    `beside ${slowClients} slow clients: p50 ${ms(beside.p50)} ms, p99 ${ms(beside.p99)} ms ` +
      `(${(beside.p99 / alone.p99).toFixed(2)} times)`,
  ];
}
