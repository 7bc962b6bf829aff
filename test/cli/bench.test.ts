import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { Command } from "commander";
import { registerBench } from "../../src/cli/bench.ts";

const folder = await mkdtemp(join(tmpdir(), "bench-"));
test.after.always(() => rm(folder, { recursive: true }));

/** Runs a command line as the program would; resolves with what it printed. */
async function run(...args: string[]): Promise<string> {
  const printed: string[] = [];
  const program = new Command("llama-gguf").exitOverride().configureOutput({ writeErr: () => {} });
  registerBench(program, (text) => printed.push(text));
  await program.parseAsync(args, { from: "user" });
  return printed.join("\n");
}

const tinyRun = ["bench", "engine", "--shape", "tiny", "--sequences", "1,3", "--prompt-tokens", "9", "--tokens", "5"];

test("bench engine compares both loops at every number of sequences, as JSON", async (t) => {
  const report = JSON.parse(await run(...tinyRun, "--json"));
  t.like(report, { model: "tiny", weights: "Q8_0", promptTokens: 9, tokens: 5, threads: 1 });
  t.deepEqual(
    report.results.map((result: { sequences: number }) => result.sequences),
    [1, 3],
  );
  for (const { tokensPerSecond, ratio } of report.results) {
    t.true(tokensPerSecond.ours > 0 && tokensPerSecond.nodeLlamaCpp > 0);
    t.is(ratio, tokensPerSecond.ours / tokensPerSecond.nodeLlamaCpp);
  }
});

test("bench engine prints a line per number of sequences", async (t) => {
  t.regex(await run(...tinyRun), /ratio\n +1 +[\d.]+ +[\d.]+ +[\d.]+\n +3 +[\d.]+ +[\d.]+ +[\d.]+$/);
});

test("bench engine gives answers of full length on a model that would end them", async (t) => {
  const report = JSON.parse(await run(...tinyRun, "--json", "--model", "models/tiny-chat.gguf", "--tokens", "40"));
  t.is(report.results.length, 2);
});

test("bench engine refuses a model that is not there", async (t) => {
  await t.throwsAsync(run("bench", "engine", "--model", "nowhere.gguf"), { message: /--model: nowhere.gguf/ });
});

for (const [flag, value] of [
  ["--sequences", "1,,8"],
  ["--sequences", "0"],
  ["--tokens", "1e3"],
  ["--shape", "7b"],
  ["--weights", "Q4_0"],
  ["--gpu", "tpu"],
] as const) {
  test(`bench engine refuses ${flag} ${value}, naming the flag`, async (t) => {
    await t.throwsAsync(run("bench", "engine", flag, value), { message: new RegExp(flag) });
  });
}

test("bench make-model writes a file and does not replace one unless told", async (t) => {
  const out = join(folder, "made.gguf");
  const args = ["bench", "make-model", "--shape", "tiny", "--out", out];
  const { size } = await run(...args).then(() => stat(out));
  t.true(size > 100_000);
  await t.throwsAsync(run(...args), { message: /exists already/ });
  t.regex(await run(...args, "--force", "--seed", "7"), /seed 7/);
  await run(...args, "--force", "--weights", "F16");
  t.true((await stat(out)).size > 1.5 * size);
});
