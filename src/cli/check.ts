// `llama-gguf check`: whether the documents still tell the truth about the program. For developers, in a git checkout.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Argument, type Command } from "commander";
import { renderEnvExample, renderReadme } from "../config/env-docs.ts";
import { packageRoot } from "../paths.ts";

const checks = { env: checkEnv, map: checkMap, changelog: checkChangelog };
type Check = keyof typeof checks;

export function registerCheck(program: Command): void {
  program
    .command("check")
    .description("check that the documents match the program; all checks when none is named")
    .addArgument(new Argument("[check]", "what to check").choices(Object.keys(checks)))
    .option("--write", "env: write the documents anew")
    .action((named: Check | undefined, options: { write?: boolean }) => {
      const names = named ? [named] : (Object.keys(checks) as Check[]);
      const problems = names.flatMap((name) => checks[name](packageRoot, options.write ?? false));
      for (const problem of problems) console.error(problem);
      if (problems.length > 0) process.exitCode = 1;
    });
}

/** .env.example and the tables in README.md equal what the program's tables say. @returns problems */
export function checkEnv(root: string, write: boolean): string[] {
  const readme = readOptional(join(root, "README.md"));
  const documents = [
    { name: ".env.example", text: readOptional(join(root, ".env.example")), expected: renderEnvExample() },
    { name: "README.md", text: readme, expected: renderReadme(readme) },
  ];
  const stale = documents.filter(({ text, expected }) => text !== expected);
  if (!write) return stale.map(({ name }) => `${name} does not match the program; run: npm run check -- env --write`);
  for (const { name, expected } of stale) {
    writeFileSync(join(root, name), expected);
    console.log(`wrote ${name}`);
  }
  return [];
}

/** The map between `<!-- map:begin -->` and `<!-- map:end -->` in ARCHITECTURE.md names folders as `path/from/root/`. */
export function checkMap(root: string): string[] {
  const document = readOptional(join(root, "ARCHITECTURE.md"));
  const map = /<!-- map:begin -->([\s\S]*)<!-- map:end -->/.exec(document)?.[1];
  if (map === undefined) return ["ARCHITECTURE.md lacks the lines <!-- map:begin --> and <!-- map:end -->"];
  const named = new Set([...map.matchAll(/`([\w.-][\w./-]*)\/`/g)].map((match) => match[1]!));
  const existing = listFolders(root);
  return [
    ...existing
      .filter((folder) => !named.has(folder))
      .map((folder) => `ARCHITECTURE.md's map does not name ${folder}/`),
    ...[...named]
      .filter((folder) => !existing.includes(folder))
      .map((folder) => `ARCHITECTURE.md's map names ${folder}/, which does not exist`),
  ];
}

/** Every folder with a file that git does not ignore, from the root, without a trailing slash. */
function listFolders(root: string): string[] {
  const files = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0").filter(Boolean);
  const folders = new Set<string>();
  for (const file of files.filter((name) => existsSync(join(root, name)))) {
    for (let folder = dirname(file); folder !== "."; folder = dirname(folder)) folders.add(folder);
  }
  return [...folders].sort();
}

/** Warns, and never fails, when the changelog is silent about recent work. */
export function checkChangelog(root: string): string[] {
  try {
    const untold = findUntoldCommits(root);
    if (untold.length === 0) return [];
    console.warn(`warning: none of the last commits to the program is in CHANGELOG.md: ${untold.join("; ")}`);
  } catch (error) {
    console.warn(`warning: the changelog was not checked: ${(error as Error).message}`);
  }
  return [];
}

/**
 * The last 5 commits that changed more than documents, when CHANGELOG.md knows none of them by subject or hash, and none
 * of them changed it.
 * @returns their subjects; empty when at least one is told
 */
export function findUntoldCommits(root: string): string[] {
  const changelog = readOptional(join(root, "CHANGELOG.md"));
  const log = git(root, "log", "-n", "200", "--no-merges", "--name-only", "--format=%x00%h%x1f%s");
  const commits = log.split("\0").slice(1).map(parseCommit);
  const recent = commits.filter(({ files }) => files.some((file) => !file.endsWith(".md"))).slice(0, 5);
  const isTold = ({ hash, subject, files }: Commit) =>
    files.includes("CHANGELOG.md") || changelog.includes(hash) || changelog.includes(subject);
  return recent.some(isTold) ? [] : recent.map(({ subject }) => subject);
}

type Commit = { readonly hash: string; readonly subject: string; readonly files: readonly string[] };

function parseCommit(record: string): Commit {
  const [head = "", ...files] = record.split("\n").filter(Boolean);
  const [hash = "", subject = ""] = head.split("\x1f");
  return { hash, subject, files };
}

const git = (root: string, ...args: string[]): string =>
  execFileSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });

const readOptional = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");
