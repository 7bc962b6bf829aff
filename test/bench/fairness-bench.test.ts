// `bench fairness` sends what it says and prints it; its figures are the machine's, so only their form is looked at.
import test from "ava";
import { Command } from "commander";
import { summarise } from "../../src/bench/statistics.ts";
import { fairnessTable, registerFairnessBench } from "../../src/cli/bench-fairness.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { startServer, testKey } from "../helpers/server.ts";

async function run(url: string, ...args: string[]): Promise<string> {
  const printed: string[] = [];
  const bench = new Command("bench");
  registerFairnessBench(bench, (text) => printed.push(text));
  await bench.parseAsync(["fairness", "--url", url, ...args], { from: "user" });
  return printed.join("\n");
}

test("the few run alone and beside the many, round by round; a refused call ends it with the reason", async (t) => {
  const engine = createMockEngine();
  const server = await startServer({ engine: () => engine });
  const load = ["--few", "2", "--many", "5", "--rounds", "2", "--max-tokens", "3"];
  try {
    const atOnce = [...load, "--after-ms", "0", "--json"];
    const text = await run(server.url, "--key-a", testKey, "--key-b", testKey, ...atOnce);
    t.false(text.includes(testKey));
    const { alone, beside, many, ratio, rounds } = JSON.parse(text);
    t.deepEqual([alone.latency.count, beside.latency.count, many.ttft.count, rounds.length], [4, 4, 10, 2]);
    t.is(ratio.mean, beside.latency.mean / alone.latency.mean);
    t.deepEqual([rounds[0].afterMs, rounds[1].afterMs], [0, 0]);
    const spread = JSON.parse(await run(server.url, "--key-a", testKey, "--key-b", testKey, ...load, "--json"));
    t.true(spread.rounds[0].afterMs > 0 && spread.rounds[1].afterMs > 0);
    const wrongKey = run(server.url, "--key-a", testKey, "--key-b", "sk-wrong-key-0123456789", ...load);
    await t.throwsAsync(wrongKey, { message: /^calls failed: status 401: / });
  } finally {
    await server.close();
  }
});

test("the table tells mean and longest waits, and how much longer they are beside the many", (t) => {
  const waits = (...ms: number[]) => ({ latency: summarise(ms), ttft: summarise([10]) });
  const options = { few: 5, many: 50, maxTokens: 300, rounds: 1, staggerMs: 0 };
  const text = fairnessTable(
    { ...options, url: new URL("http://127.0.0.1:1/"), keyA: "a", keyB: "b" },
    {
      alone: waits(100, 300),
      beside: waits(300, 500),
      many: waits(900),
      ratio: { mean: 2, max: 5 / 3 },
      rounds: [{ afterMs: 50, alone: 200, beside: 400 }],
    },
  );
  t.regex(text, /^the 5 alone +200 +300 +10 +10$/m);
  t.regex(text, /^the 5 beside the 50 +400 +500 +10 +10$/m);
  t.regex(text, /^beside \/ alone +2\.00 +1\.67$/m);
  t.regex(text, /^the few after 50 ms +200 +400 +2\.00$/m);
});
