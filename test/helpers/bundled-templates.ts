// The chat templates that llama.cpp carries for its own tests, as files: native/build.mjs keeps a clone of the bundle they are in.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { packageRoot } from "../../src/paths.ts";

export type BundledTemplate = { readonly name: string; readonly path: string; readonly source: string };

/** Unpacks them into a new folder. Throws when the addon was never built here. */
export function unpackTemplates(t: Pick<ExecutionContext, "log">): BundledTemplate[] {
  const build = join(packageRoot, "native", "build");
  const clone = readdirSync(build).find((name) => name.startsWith("llama.cpp-"));
  if (clone === undefined) throw new Error(`no clone of llama.cpp in ${build}; run \`node native/build.mjs\``);
  const folder = mkdtempSync(join(tmpdir(), "templates-"));
  // An index of its own: the clone, which others use at the same time, stays as it is.
  const env = { ...process.env, GIT_INDEX_FILE: join(folder, "index") };
  const git = ["--git-dir", join(build, clone, ".git"), "--work-tree", folder];
  execFileSync("git", [...git, "checkout", "--quiet", "HEAD", "--", "models/templates"], { env });
  const templates = join(folder, "models", "templates");
  const names = readdirSync(templates).filter((name) => name.endsWith(".jinja"));
  t.log(`${names.length} templates of ${clone}`);
  return names.map((name) => {
    const path = join(templates, name);
    return { name: name.slice(0, -".jinja".length), path, source: readFileSync(path, "utf8") };
  });
}
