// Measures what contexts on a loaded model need and what the devices have, and grants a size. The figures are the backend's own:
// node-llama-cpp simulates a context without allocating it.
import { GgmlType, type Llama, type LlamaModel } from "node-llama-cpp";
import type { Config } from "../config.ts";
import type { Logger } from "../telemetry/log.ts";
import { type ContextSize, type DeviceMemory, describeMisfit, fit, fits } from "./fit.ts";

const ggmlTypes = { f16: GgmlType.F16, q8_0: GgmlType.Q8_0, q4_0: GgmlType.Q4_0 };

/**
 * The size that contexts are created with.
 * @throws Error with what would fit, when nothing does or FIT=false
 */
export async function grantContextSize(
  asked: ContextSize,
  { llama, model, config, log }: { llama: Llama; model: LlamaModel; config: Config; log: Logger },
): Promise<ContextSize> {
  const devices = await measureDevices(asked, llama, model, config);
  if (fits(asked, devices)) return asked;
  const granted = config.fit ? fit(asked, devices) : undefined;
  if (!granted) throw new Error(describeMisfit(asked, devices));
  const lines = [
    describeMisfit(asked, devices),
    `FIT: asked CTX=${asked.contextTokens} MAX_CONCURRENT_REQUESTS=${asked.sequences}, ` +
      `granted CTX=${granted.contextTokens} MAX_CONCURRENT_REQUESTS=${granted.sequences}`,
  ];
  for (const line of lines) log.warn(line);
  return granted;
}

/** Simulated contexts stay this small: llama.cpp keeps a record for every cell, also of those it only simulates. */
const simulatedTokens = 16384;
const least = { contextTokens: 256, sequences: 1 };

/** Two simulated contexts tell the fixed part and the part per token. */
async function measureDevices(
  asked: ContextSize,
  llama: Llama,
  model: LlamaModel,
  config: Config,
): Promise<DeviceMemory[]> {
  const larger = {
    contextTokens: Math.max(least.contextTokens + 256, Math.min(asked.contextTokens, simulatedTokens)),
    sequences: 1,
  };
  const [much, little] = [await simulate(larger, model, config), await simulate(least, model, config)];
  const tokens = larger.contextTokens - least.contextTokens;
  const device = (name: string, kind: "cpuRam" | "gpuVram", freeBytes: number): DeviceMemory => {
    const bytesPerToken = Math.max(0, much[kind] - little[kind]) / tokens;
    return { name, bytesPerToken, fixedBytes: little[kind] - bytesPerToken * least.contextTokens, freeBytes };
  };
  const devices = [device("RAM", "cpuRam", process.availableMemory())];
  if (llama.gpu !== false) devices.push(device("GPU memory", "gpuVram", (await llama.getVramState()).free));
  return devices;
}

function simulate({ contextTokens, sequences }: ContextSize, model: LlamaModel, config: Config) {
  return model.fileInsights.estimateContextResourceRequirementsV2({
    contextSize: contextTokens,
    sequences,
    modelGpuLayers: model.gpuLayers,
    batchSize: Math.min(config.ubatch, contextTokens),
    flashAttention: config.flashAttn === "auto" ? "auto" : config.flashAttn === "on",
    kvCacheKeyType: ggmlTypes[config.kvTypeK],
    kvCacheValueType: ggmlTypes[config.kvTypeV],
  });
}
