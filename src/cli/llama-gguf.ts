#!/usr/bin/env node
// The command line: which commands exist, and what their ends mean as exit codes. What a command does is in its own file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { packageRoot } from "../paths.ts";
import { registerCheck } from "./check.ts";
import { registerKeys } from "./keys.ts";
import { registerModels } from "./models.ts";
import { registerStart } from "./start.ts";

async function createProgram(args: readonly string[]): Promise<Command> {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  const program = new Command("llama-gguf")
    .description(
      "Serves a GGUF model over an OpenAI-compatible API. Configured by environment variables (.env.example).",
    )
    .version(version)
    .showHelpAfterError()
    .exitOverride();
  registerStart(program);
  registerKeys(program);
  registerModels(program);
  // The benchmark brings the whole engine along, so it is loaded only when it is asked for.
  if (args.includes("bench")) (await import("./bench.ts")).registerBench(program);
  else program.command("bench").description("measure speed");
  registerCheck(program);
  return program;
}

/** 0 done, 1 the operation failed, 2 wrong usage or configuration; reports what commander has not reported itself. */
function endedBy(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const exitCode = (error as { exitCode?: number }).exitCode;
  // An error with an exit code, or a plain one, was written for the operator; of a TypeError and the like the place matters.
  const written = error instanceof Error && (exitCode !== undefined || error.constructor === Error);
  console.error(written ? error.message : error);
  return exitCode ?? 1;
}

try {
  const program = await createProgram(process.argv.slice(2));
  await program.parseAsync();
} catch (error) {
  process.exitCode = endedBy(error);
}
