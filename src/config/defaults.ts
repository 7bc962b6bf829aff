// Defaults that depend on other values, on the data directory or on the machine. Sees only values that are valid.
import { hostname } from "node:os";
import { basename, join } from "node:path";
import type { Draft, Environment } from "../config.ts";
import { instanceId } from "./values.ts";

/** Fills what is still undefined; the table says the same in words. */
export function fillDefaults(draft: Draft, dataDir: string, env: Environment): void {
  draft.dataDir = dataDir;
  draft.modelsDir ??= join(dataDir, "models");
  draft.logDir ??= join(dataDir, "logs");
  draft.authKeysFile ??= join(dataDir, "api_keys.txt");
  draft.modelAlias ??= defaultAlias(draft);
  draft.ubatch ??= Math.min(512, draft.batch ?? 512);
  draft.instanceId ??= instanceId.schema.parse(env.HOSTNAME?.trim() || hostname() || "unknown");
  if (draft.workerType) draft.logName = `llama-${draft.workerType}`;
}

function defaultAlias({ modelPath, modelName, mockBackend }: Draft): string {
  const file = modelPath ?? modelName;
  if (file === undefined) return mockBackend ? "mock" : "tiny-chat";
  const name = basename(file).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");
  return name.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, "_").slice(0, 128);
}
