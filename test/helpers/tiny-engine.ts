// The real engine on models/tiny-chat.gguf, on one CPU thread.
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { loadConfig } from "../../src/config.ts";
import type { Addon, NativeModel } from "../../src/engine/addon.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { type LlamaEngineOptions, loadLlamaEngine } from "../../src/engine/llama-engine.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { packageRoot } from "../../src/paths.ts";
import { silentLog } from "../../src/telemetry/log.ts";

export const tinyChatPath = join(packageRoot, "models", "tiny-chat.gguf");

export async function loadTinyEngine(
  env: Record<string, string> = {},
  overrides: Partial<LlamaEngineOptions> = {},
): Promise<{ engine: Engine; heartbeat: Heartbeat }> {
  const heartbeat = new Heartbeat();
  const { config } = loadConfig({ GPU: "cpu", THREADS: "1", MAX_CONCURRENT_REQUESTS: "4", CTX: "1024", ...env });
  const engine = await loadLlamaEngine({
    config,
    modelPath: tinyChatPath,
    log: silentLog(),
    heartbeat,
    signal: new AbortController().signal,
    ...overrides,
  });
  return { engine, heartbeat };
}

/** The addon and its model, without an engine, until the test ends. */
export async function loadTinyModel(t: ExecutionContext): Promise<{ addon: Addon; native: NativeModel }> {
  const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const model = await llama.loadModel({ modelPath: tinyChatPath });
  t.teardown(async () => {
    await model.dispose();
    await llama.dispose();
  });
  const addon = loadAddon();
  return { addon, native: new addon.Model((model as unknown as { _model: unknown })._model) };
}
