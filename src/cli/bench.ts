// `bench engine` and `bench make-model`: reads the command line and prints; what is measured and made is in bench/.
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { benchEngine, type Comparison, type EngineBenchOptions } from "../bench/engine-bench.ts";
import { writeGguf } from "../bench/gguf-writer.ts";
import { cachedModel } from "../bench/model-cache.ts";
import { randomModel } from "../bench/random-model.ts";
import { type WeightType, weightTypes } from "../bench/random-tensors.ts";
import { type ShapeName, shapes } from "../bench/shapes.ts";
import { registerChainBench } from "./bench-chain.ts";
import { registerFairnessBench } from "./bench-fairness.ts";
import { registerHttpBench } from "./bench-http.ts";
import { integer, integers } from "./bench-options.ts";
import { registerReaderBench } from "./bench-reader.ts";

type EngineFlags = Omit<EngineBenchOptions, "modelPath" | "mayEnd"> & {
  readonly model?: string;
  readonly shape: ShapeName;
  readonly weights: WeightType;
  readonly json?: true;
};

type MakeModelFlags = {
  readonly shape: ShapeName;
  readonly weights: WeightType;
  readonly out: string;
  readonly seed: number;
  readonly force?: true;
};

/** Written for the operator; the exit code is what CONTRACT.md section 11 says: 1 failed, 2 wrong usage. */
class BenchError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "BenchError";
    this.exitCode = exitCode;
  }
}

type Print = (text: string) => void;

/** Adds `bench` with its subcommands. A failed one throws: the caller prints the message and sets the exit code. */
export function registerBench(program: Command, print: Print = console.log): void {
  const bench = program.command("bench").description("measure speed");
  bench
    .command("engine")
    .description("tokens per second of the engine beside node-llama-cpp's own loop")
    .option(
      "--model <file>",
      "GGUF to measure with (default: a random one of --shape, kept in the temporary directory)",
    )
    .addOption(shapeOption().default("135m"))
    .addOption(weightsOption())
    .option("--sequences <list>", "requests at once, one measurement each", integers(1, 256), [1, 8, 32])
    .option("--prompt-tokens <n>", "length of each prompt", integer(1, 100_000), 61)
    .option("--tokens <n>", "length of each answer", integer(1, 100_000), 64)
    .option("--threads <n>", "CPU threads of either loop", integer(1, 1024), 1)
    .addOption(new Option("--gpu <kind>", "device").choices(["auto", "cuda", "vulkan", "cpu"]).default("cpu"))
    .option("--rounds <n>", "measurements of either loop; the fastest counts", integer(1, 100), 1)
    .option("--json", "print one JSON object")
    .action((flags: EngineFlags) => runEngine(flags, print));
  bench
    .command("make-model")
    .description("write a GGUF with random weights")
    .addOption(shapeOption().makeOptionMandatory())
    .addOption(weightsOption())
    .requiredOption("--out <file>", "where to write it")
    .option("--seed <n>", "the same seed gives the same file", integer(0, 2 ** 32 - 1), 1)
    .option("--force", "replace an existing file")
    .action((flags: MakeModelFlags) => makeModel(flags, print));
  registerHttpBench(bench);
  registerChainBench(bench, print);
  registerFairnessBench(bench, print);
  registerReaderBench(bench, print);
}

const weightsOption = () =>
  new Option("--weights <type>", "how its weights are stored").choices(weightTypes).default("Q8_0");
const shapeOption = () => new Option("--shape <name>", "shape of the random model").choices(Object.keys(shapes));

async function runEngine(flags: EngineFlags, print: Print): Promise<void> {
  const { model, shape, weights, json, ...settings } = flags;
  if (model !== undefined && !existsSync(model)) throw new BenchError(`--model: ${model} does not exist`, 2);
  const modelPath = model ?? (await cachedModel(shape, weights));
  const { promptTokens, tokens, threads, gpu, rounds } = settings;
  const run = {
    ...(model === undefined ? { model: shape, weights } : { model }),
    bytes: statSync(modelPath).size,
    promptTokens,
    tokens,
    threads,
    gpu,
    rounds,
  };
  const settled = Object.entries(run).map(([name, value]) => `${name} ${value}`);
  if (!json) print(`${settled.join(", ")}\n\n${header}`);
  const results: Comparison[] = [];
  for await (const comparison of benchEngine({ ...settings, modelPath, mayEnd: model !== undefined })) {
    results.push(comparison);
    if (!json) print(row(comparison));
  }
  if (json) print(JSON.stringify({ ...run, results }, null, 2));
}

const columns = (cells: readonly string[]) => cells.map((cell) => cell.padStart(16)).join("");
const header = columns(["requests at once", "ours tok/s", "node-llama-cpp", "ratio"]);

function row({ sequences, tokensPerSecond: { ours, nodeLlamaCpp }, ratio }: Comparison): string {
  return columns([String(sequences), ours.toFixed(1), nodeLlamaCpp.toFixed(1), ratio.toFixed(2)]);
}

async function makeModel({ shape, weights, out, seed, force }: MakeModelFlags, print: Print): Promise<void> {
  const path = resolve(out);
  if (existsSync(path) && !force) throw new BenchError(`--out: ${out} exists already; --force replaces it`, 1);
  await writeGguf(path, randomModel(`random ${shape}`, shapes[shape], seed, weights));
  print(`${out}: ${statSync(path).size} bytes, shape ${shape}, weights ${weights}, seed ${seed}`);
}
