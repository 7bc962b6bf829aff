// Where the package lies. Compiled files sit one folder deeper (dist/src) than their sources, so nobody counts "../".
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function findPackageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error("package.json not found above this file; the installation is incomplete");
    folder = parent;
  }
  return folder;
}

/** Absolute path of the folder that holds package.json, models/ and native/. */
export const packageRoot = findPackageRoot();
