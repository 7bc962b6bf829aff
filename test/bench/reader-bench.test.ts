// `bench reader` reads answers of every kind and length; its figures are the machine's, so only their form is looked at.
import test from "ava";
import { Command } from "commander";
import { answerKinds } from "../../src/bench/reader-bench.ts";
import { registerReaderBench } from "../../src/cli/bench-reader.ts";

async function run(...args: string[]): Promise<string> {
  const printed: string[] = [];
  const bench = new Command("bench");
  registerReaderBench(bench, (text) => printed.push(text));
  await bench.parseAsync(["reader", "--tokens", "5,20", "--rounds", "1", ...args], { from: "user" });
  return printed.join("\n");
}

test("each kind of answer has its cost at each length", async (t) => {
  const { costs } = JSON.parse(await run("--json"));
  t.is(costs.length, 2 * Object.keys(answerKinds).length);
  for (const { microseconds, longestMs } of costs) t.true(microseconds > 0 && longestMs > 0);
  t.regex(await run(), /^text +20 +\d+\.\d +\d+\.\d\d$/m);
});
