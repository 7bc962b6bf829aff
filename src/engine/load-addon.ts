// Loads native/build/llama-gguf.node. Refuses a binary that was built for another node-llama-cpp: its objects' layout is read directly.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot } from "../paths.ts";
import type { Addon } from "./addon.ts";

const rebuild = "run `npm ci` (or `node native/build.mjs`) to build it";

/** Throws unless the binary was built for the installed versions. */
export function checkVersions(
  addon: Pick<Addon, "nodeLlamaCppVersion" | "llamaCppTag">,
  installed: InstalledVersions,
): void {
  if (addon.nodeLlamaCppVersion === installed.nodeLlamaCpp && addon.llamaCppTag === installed.llamaCpp) return;
  throw new Error(
    `The native addon was built for node-llama-cpp ${addon.nodeLlamaCppVersion} (llama.cpp ${addon.llamaCppTag}), ` +
      `installed is ${installed.nodeLlamaCpp} (${installed.llamaCpp}); ${rebuild}.`,
  );
}

export type InstalledVersions = { readonly nodeLlamaCpp: string; readonly llamaCpp: string };

export function installedVersions(): InstalledVersions {
  const folder = join(packageRoot, "node_modules", "node-llama-cpp");
  const read = (...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), "utf8"));
  return { nodeLlamaCpp: read("package.json").version, llamaCpp: read("llama", "llama.cpp.info.json").tag };
}

/** Call after getLlama(): the addon binds to whichever backend node-llama-cpp has loaded. */
export function loadAddon(file: string = join(packageRoot, "native", "build", "llama-gguf.node")): Addon {
  if (!existsSync(file)) throw new Error(`The native addon is missing; ${rebuild}.`);
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)(file);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `The native addon did not load (${reason}). Likely causes: getLlama() has not run before it, another C++ library ` +
        `than it was built with, or another node-llama-cpp; ${rebuild}.`,
      { cause },
    );
  }
  checkVersions(addon, installedVersions());
  return addon;
}
