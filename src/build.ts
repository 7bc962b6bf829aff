// Which build of the program this is: the package's version, and what the image's build wrote down beside it.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "./paths.ts";

const read = (file: string) =>
  JSON.parse(readFileSync(join(packageRoot, file), "utf8")) as Readonly<Record<string, string | undefined>>;

/** Written by Dockerfile.cuda; a clone has none. */
const image = existsSync(join(packageRoot, "build.json")) ? read("build.json") : {};

export const build = {
  version: read("package.json").version ?? "unknown",
  gitSha: image.gitSha ?? "unknown",
} as const;
