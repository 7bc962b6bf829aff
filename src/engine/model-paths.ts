// Finds model files: which one the configuration means, which parts a split one has, which ones lie under MODELS_DIR.
// Looks at names only, never inside a file.
import { type Dirent, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import type { Config } from "../config.ts";
import { packageRoot } from "../paths.ts";
import { ModelFileError } from "./file-cursor.ts";

export type ModelChoice = {
  /** Absolute. */
  readonly path: string;
  /** True when nothing was configured and the embedded demo model is served. */
  readonly demo: boolean;
};

export function chooseModel(config: Pick<Config, "modelPath" | "modelName" | "modelsDir">): ModelChoice {
  if (config.modelPath !== undefined) return { path: config.modelPath, demo: false };
  if (config.modelName !== undefined) return { path: join(config.modelsDir, config.modelName), demo: false };
  return { path: join(packageRoot, "models", "tiny-chat.gguf"), demo: true };
}

const splitPattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;
const maxListed = 50;

/** The file alone, or, when its name is of a split set, all parts in order. @throws ModelFileError naming missing parts */
export function listParts(path: string): string[] {
  const [, prefix, number, total] = splitPattern.exec(basename(path)) ?? [];
  if (prefix === undefined || total === undefined) return [path];
  const count = Number(total);
  if (Number(number) < 1 || Number(number) > count) {
    throw new ModelFileError(`${path}: part ${Number(number)} of ${count} does not exist; parts count from 1`);
  }
  const nameOf = (index: number) => `${prefix}-${String(index + 1).padStart(5, "0")}-of-${total}.gguf`;
  const names = Array.from({ length: count }, (_, index) => nameOf(index));
  const folder = dirname(path);
  const missing = names.filter((name) => !exists(join(folder, name)));
  if (missing.length > 0) {
    const listed = missing.slice(0, maxListed).join(", ") + (missing.length > maxListed ? ", …" : "");
    throw new ModelFileError(`${path}: ${missing.length} of ${count} parts of this split model are missing: ${listed}`);
  }
  return names.map((name) => join(folder, name));
}

/** @throws ModelFileError listing the models that do exist */
export function expectExisting(path: string, modelsDir: string): void {
  if (exists(path)) return;
  const { files, more } = listModelFiles(modelsDir);
  const listed = files.map((file) => `\n  ${relative(modelsDir, file)}`).join("");
  const found =
    files.length === 0 ? `there is no *.gguf file under ${modelsDir}` : `*.gguf files under ${modelsDir}:${listed}`;
  throw new ModelFileError(`${path}: there is no such file; ${found}${more ? "\n  … and more" : ""}`);
}

/** What exists but cannot be looked at counts: opening it tells why. */
function exists(path: string): boolean {
  try {
    return statSync(path) !== undefined;
  } catch (error) {
    return !["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
  }
}

/** The *.gguf files in a folder and in its folders, sorted, 50 at most; symbolic links are followed. */
export function listModelFiles(folder: string): { files: string[]; more: boolean } {
  const files: string[] = [];
  for (const entry of readFolder(folder)) {
    const path = join(folder, entry.name);
    if (isModel(entry)) files.push(path);
    else if (isFolder(path)) {
      for (const inner of readFolder(path)) if (isModel(inner)) files.push(join(path, inner.name));
    }
    if (files.length > maxListed) return { files: files.slice(0, maxListed), more: true };
  }
  return { files, more: false };
}

/** What is in a folder, by name; nothing when it is missing or closed to us: the list is a help, not a check. */
function readFolder(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    return [];
  }
}

const isModel = (entry: Dirent): boolean => /\.gguf$/i.test(entry.name) && !entry.isDirectory();

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // A link that leads nowhere, or a folder closed to us.
  }
}
