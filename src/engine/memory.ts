// Measures what contexts on loaded models need and what the devices have, and grants a size. The figures are the backend's own:
// node-llama-cpp simulates a context without allocating it.
import { GgmlType, type Llama, type LlamaModel } from "node-llama-cpp";
import type { Config } from "../config.ts";
import type { Logger } from "../telemetry/log.ts";
import { type ContextCost, type ContextSize, type DeviceMemory, describeMisfit, fit, fits } from "./fit.ts";

const ggmlTypes = { f16: GgmlType.F16, q8_0: GgmlType.Q8_0, q4_0: GgmlType.Q4_0 };

export type Measured = {
  readonly llama: Llama;
  /** Those that get a context: the main one, and a draft model, which is never larger than `most`. */
  readonly models: readonly { readonly model: LlamaModel; readonly most?: ContextSize | undefined }[];
  readonly config: Config;
};

/**
 * The size that contexts are created with.
 * @throws Error with what would fit, when nothing does or FIT=false
 */
export async function grantContextSize(
  asked: ContextSize,
  { log, ...measured }: Measured & { readonly log: Logger },
): Promise<ContextSize> {
  const devices = await measureDevices(asked, measured);
  if (fits(asked, devices)) return asked;
  const granted = measured.config.fit ? fit(asked, devices) : undefined;
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

export async function measureDevices(asked: ContextSize, { llama, models, config }: Measured): Promise<DeviceMemory[]> {
  const costs: { costs: Record<Kind, ContextCost>; most: ContextSize | undefined }[] = [];
  for (const { model, most } of models) costs.push({ costs: await measureCosts(asked, model, config), most });
  const device = (name: string, kind: Kind, freeBytes: number): DeviceMemory => ({
    name,
    freeBytes,
    contexts: costs.map(({ costs, most }) => ({ cost: costs[kind], most })),
  });
  const devices = [device("RAM", "cpuRam", process.availableMemory())];
  if (llama.gpu !== false) devices.push(device("GPU memory", "gpuVram", (await llama.getVramState()).free));
  return devices;
}

type Kind = "cpuRam" | "gpuVram";

/** Four simulated contexts, short and long, of one sequence and of two, tell how the need grows with both. */
async function measureCosts(asked: ContextSize, model: LlamaModel, config: Config): Promise<Record<Kind, ContextCost>> {
  // All can hold a whole compute pass, so that none has smaller buffers for it.
  const short = Math.max(256, config.ubatch);
  // In one pool a pass looks back over all sequences.
  const unified = config.kvLayout === "unified";
  const positions = asked.contextTokens * (unified ? asked.sequences : 1);
  const long = Math.max(2 * short, Math.min(positions, simulatedTokens));
  const simulated = (contextTokens: number, sequences: number) => simulate({ contextTokens, sequences }, model, config);
  const one = { short: await simulated(short, 1), long: await simulated(long, 1) };
  const two = { short: await simulated(short, 2), long: await simulated(long, 2) };
  const cost = (kind: Kind): ContextCost => {
    const growth = ({ short: little, long: much }: typeof one) => (much[kind] - little[kind]) / (long - short);
    const bytesPerToken = Math.max(0, growth(two) - growth(one));
    const bytesPerPosition = Math.max(0, growth(one) - bytesPerToken);
    const bytesPerSequence = Math.max(0, two.short[kind] - one.short[kind] - bytesPerToken * short);
    const grown = bytesPerSequence + (bytesPerToken + bytesPerPosition) * short;
    const fixedBytes = Math.max(0, one.short[kind] - grown);
    return unified
      ? { fixedBytes, bytesPerSequence, bytesPerToken: bytesPerToken + bytesPerPosition, bytesPerPosition: 0 }
      : { fixedBytes, bytesPerSequence, bytesPerToken, bytesPerPosition };
  };
  return { cpuRam: cost("cpuRam"), gpuVram: cost("gpuVram") };
}

function simulate({ contextTokens, sequences }: ContextSize, model: LlamaModel, config: Config) {
  return model.fileInsights.estimateContextResourceRequirementsV2({
    contextSize: contextTokens,
    sequences,
    modelGpuLayers: model.gpuLayers,
    batchSize: config.ubatch,
    flashAttention: config.flashAttn === "auto" ? "auto" : config.flashAttn === "on",
    kvCacheKeyType: ggmlTypes[config.kvTypeK],
    kvCacheValueType: ggmlTypes[config.kvTypeV],
  });
}
