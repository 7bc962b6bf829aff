// `bench chain` measures every link and prints what each adds; its figures are the machine's, so only their form is looked at.
import test from "ava";
import { Command } from "commander";
import { links } from "../../src/bench/chain-servers.ts";
import { chainTable, registerChainBench } from "../../src/cli/bench-chain.ts";

async function run(...args: string[]): Promise<string> {
  const printed: string[] = [];
  const bench = new Command("bench");
  registerChainBench(bench, (text) => printed.push(text));
  await bench.parseAsync(["chain", ...args], { from: "user" });
  return printed.join("\n");
}

test("each link has its speed, and slow clients are measured on request", async (t) => {
  const options = ["--connections", "2", "--seconds", "0.2", "--rounds", "1", "--slow-clients", "9", "--json"];
  const result = JSON.parse(await run(...options));
  t.deepEqual(
    result.links.map(({ link }: { link: string }) => link),
    links,
  );
  for (const { requestsPerSecond, p50, p99 } of result.links) t.true(requestsPerSecond > 0 && p50 > 0 && p99 >= p50);
  t.is(result.slow.slowClients, 9);
  t.is(result.slow.beside.failed, 0);
  t.true(result.slow.beside.count > 0);
});

test("the table tells what each link adds, and its share of the whole", (t) => {
  const speeds = { requestsPerSecond: 1000, p50: 1, p99: 2 };
  const slow = {
    slowClients: 500,
    alone: { ...speeds, count: 1, failed: 0 },
    beside: { ...speeds, p99: 3, count: 1, failed: 0 },
  };
  const measured = [
    { link: "node", ...speeds, addedP50: 0 },
    { link: "door", ...speeds, p50: 1.25, addedP50: 0.25 },
  ] as const;
  const options = { connections: 1, seconds: 1, rounds: 1, slowClients: 500 };
  const text = chainTable(options, { links: measured, chainP50: 0.5, slow });
  t.regex(text, /^ *node +1000 +1\.000 +2\.000 +- +-$/m);
  t.regex(text, /^ *door +1000 +1\.250 +2\.000 +0\.250 +50 %$/m);
  t.regex(text, /the whole chain adds 0\.500 ms at p50/);
  t.regex(text, /beside 500 slow clients: .*\(1\.50 times\)/);
});
