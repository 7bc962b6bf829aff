// `llama-gguf models list` and `inspect`: what lies in MODELS_DIR, and what a GGUF file is. Reads headers, loads no model.
import { existsSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { loadConfig, readEnvironment } from "../config.ts";
import { inspectModelFile, type ModelFile, ModelFileError } from "../engine/model-file.ts";
import { listModelFiles } from "../engine/model-paths.ts";

export function registerModels(program: Command): void {
  const models = program.command("models").description("look at model files");
  models.command("list").description("list the models in MODELS_DIR").action(list);
  models
    .command("inspect")
    .description("describe a GGUF file")
    .argument("<file>", "path, or name under MODELS_DIR")
    .action(inspect);
}

function list(): void {
  const { modelsDir } = loadConfig(readEnvironment()).config;
  const { files, more } = listModelFiles(modelsDir);
  if (files.length === 0) console.log(`no *.gguf file under ${modelsDir}`);
  for (const file of files) console.log(listLine(file, modelsDir));
  if (more) console.log("… and more");
}

function listLine(path: string, modelsDir: string): string {
  const name = printable(relative(modelsDir, path));
  try {
    const { architecture, fileType, sizeBytes, parts } = inspectModelFile(path, modelsDir);
    const split = parts.length === 1 ? "" : `, ${parts.length} parts`;
    return `${formatBytes(sizeBytes).padStart(10)}  ${name}  ok: ${printable(architecture)}, ${fileType}${split}`;
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    return `${"–".padStart(10)}  ${name}  invalid: ${printable(error.message)}`;
  }
}

function inspect(file: string): void {
  const { modelsDir } = loadConfig(readEnvironment()).config;
  const inModelsDir = join(modelsDir, file);
  const path = !existsSync(file) && existsSync(inModelsDir) ? inModelsDir : resolve(file);
  for (const [name, value] of describe(inspectModelFile(path, modelsDir))) {
    console.log(`${`${name}:`.padEnd(24)}${value}`);
  }
}

function describe(model: ModelFile): [string, string][] {
  const { contextLength, kvBytesPer1024Tokens } = model;
  return [
    ["file", model.path],
    ["parts", String(model.parts.length)],
    ["size", formatBytes(model.sizeBytes)],
    ["modified", new Date(model.modifiedAt * 1000).toISOString()],
    ["name", printable(model.name ?? "not named")],
    ["architecture", printable(model.architecture)],
    ["quantisation", model.fileType],
    ["parameters", model.parameters.toLocaleString("en")],
    ["tensors", String(model.tensors)],
    ["training context", contextLength === undefined ? "unknown" : `${contextLength} tokens`],
    ["chat template", model.hasChatTemplate ? "yes" : "no; ChatML will be used"],
    [
      "KV per 1024 tokens",
      kvBytesPer1024Tokens === undefined ? "unknown" : `${formatBytes(kvBytesPer1024Tokens)} (f16)`,
    ],
  ];
}

function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.max(Math.floor(Math.log2(bytes || 1) / 10), 0), units.length - 1);
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** Names come from files of others: control characters must not reach the terminal. */
const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cf}]/gu, "?");
