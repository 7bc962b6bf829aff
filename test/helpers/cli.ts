// Runs the command line as people do, to its end, with stdout and stderr apart.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../../src/paths.ts";

export type CliResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** @param env all the command sees besides PATH and HOME */
export function runCli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = packageRoot,
): CliResult {
  const { PATH = "", HOME = "" } = process.env;
  const cli = join(packageRoot, "dist", "src", "cli", "llama-gguf.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
    cwd,
    env: { PATH, HOME, ...env },
    encoding: "utf8",
  });
  return { code: status, stdout, stderr };
}
