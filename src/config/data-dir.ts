// Where models, logs, keys and caches live when nobody says so: the rules for DATA_DIR. Choosing only looks; preparing creates.
import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "./error.ts";

export type DataDir = {
  /** Absolute. */
  readonly path: string;
  /** Which rule chose it, for the log. */
  readonly rule: string;
  /** False: logs go to stderr only; models can still be read from there. */
  readonly writable: boolean;
  /** Why an explicit DATA_DIR cannot be used. */
  readonly problem?: string;
};

/** What choosing asks about a path. */
export type Look = {
  readonly kind: (path: string) => "folder" | "other" | "missing";
  readonly writable: (path: string) => boolean;
};

const look: Look = {
  kind(path) {
    try {
      return statSync(path).isDirectory() ? "folder" : "other";
    } catch {
      return "missing"; // Or unreachable, below a file or a closed folder; the folders above it tell.
    }
  },
  writable(path) {
    try {
      accessSync(path, constants.W_OK | constants.X_OK);
      return true;
    } catch {
      return false; // Whatever the reason, files cannot be created there.
    }
  },
};

/** Mount points of container platforms, in order of preference. */
const mounts = ["/runpod-volume", "/workspace", "/data"];

/** @param explicit DATA_DIR as set, absolute; its problem, if any, is in the result. */
export function chooseDataDir(explicit?: string, on: Look = look): DataDir {
  if (explicit !== undefined) return chooseExplicit(explicit, on);
  const mount = mounts.find((path) => on.kind(path) === "folder" && on.writable(path));
  if (mount) return { path: mount, rule: `${mount} exists and is writable`, writable: true };
  const path = resolve("data");
  return {
    path,
    rule: `DATA_DIR is not set and none of ${mounts.join(", ")} is a writable folder`,
    writable: on.kind(path) === "folder" ? on.writable(path) : canCreate(path, on),
  };
}

function chooseExplicit(path: string, on: Look): DataDir {
  const rule = "DATA_DIR is set";
  const kind = on.kind(path);
  if (kind === "folder") return { path, rule, writable: on.writable(path) };
  const problem =
    kind === "other" ? `${path} exists but is not a folder` : `${path} does not exist and cannot be created`;
  return canCreate(path, on) ? { path, rule, writable: true } : { path, rule, writable: false, problem };
}

/** True when the nearest thing above a missing path is a folder that takes new entries. */
function canCreate(path: string, on: Look): boolean {
  if (on.kind(path) !== "missing") return false;
  const parent = dirname(path);
  return on.kind(parent) === "missing" ? canCreate(parent, on) : on.kind(parent) === "folder" && on.writable(parent);
}

/**
 * Creates the folder (with models/ in it) when it is missing.
 * @returns the same choice, no longer writable when `./data` could not be created after all
 * @throws ConfigError when an explicit DATA_DIR could not
 */
export function prepareDataDir(dataDir: DataDir): DataDir {
  if (!dataDir.writable) return dataDir;
  try {
    mkdirSync(join(dataDir.path, "models"), { recursive: true });
    return dataDir;
  } catch (error) {
    if (dataDir.rule !== "DATA_DIR is set") return { ...dataDir, writable: false };
    throw new ConfigError([`DATA_DIR: ${dataDir.path} cannot be created: ${(error as Error).message}`]);
  }
}
