// The project's source files as text, for tests about the sources themselves.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { packageRoot } from "../../src/paths.ts";

export type Source = {
  /** From the package root, for example "src/engine/engine.ts". */
  readonly path: string;
  readonly text: string;
  /** The text without comments that begin a line or are in slash-star. */
  readonly code: string;
  /** What it imports: packages and `node:` modules as written, own files as paths from the package root. */
  readonly imports: readonly string[];
};

/** All files under a folder whose name matches, subfolders included. */
export function readSources(folder: string, name: RegExp): Source[] {
  const files = readdirSync(join(packageRoot, folder), { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => name.test(file))
    .map((file) => posix.join(folder, file))
    .sort()
    .map(readSource);
}

function readSource(path: string): Source {
  const text = readFileSync(join(packageRoot, path), "utf8");
  const code = text.replace(/^\s*\/\/.*$|\/\*[\s\S]*?\*\//gm, "");
  return { path, text, code, imports: findImports(path, code) };
}

const importForms = [
  // import … from "x"; export … from "x"; types included.
  /^\s*(?:import|export)\b[^;"']*?\bfrom\s+"([^"]+)"/gm,
  /^\s*import\s+"([^"]+)"/gm,
  /\b(?:import|require)\(\s*"([^"]+)"/g,
  // A worker's file.
  /new URL\(\s*"(\.[^"]+)"\s*,\s*import\.meta\.url/g,
];

function findImports(path: string, code: string): string[] {
  const found = importForms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1]!));
  return found.map((name) => (name.startsWith(".") ? posix.join(posix.dirname(path), name) : name));
}

/** The package an import belongs to: "@koa/router", "koa"; undefined for own files and Node's modules. */
export function packageOf(imported: string): string | undefined {
  if (imported.startsWith("node:") || imported.startsWith("src/") || imported.startsWith("test/")) return undefined;
  return imported.split("/", imported.startsWith("@") ? 2 : 1).join("/");
}

export type Block = { readonly line: number; readonly lines: number };

/** Functions of formatted code, by indentation: from a line that opens one to the line that closes it. */
export function findFunctions(text: string): Block[] {
  const lines = text.split("\n");
  return lines.flatMap((line, index) => {
    const opens = /[)>\w\]] (?:=> )?\{$/.test(line) && /\(|=>/.test(line);
    const control = /^\s*(?:\} )?(?:if|for|while|switch|else|catch|try|do|class|interface|type)\b/.test(line);
    if (!opens || control) return [];
    const indent = /^\s*/.exec(line)![0];
    const end = lines.findIndex((other, at) => at > index && other.startsWith(`${indent}}`));
    return [{ line: index + 1, lines: end - index + 1 }];
  });
}
