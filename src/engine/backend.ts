// Chooses and loads llama.cpp's backend and the model's weights, through node-llama-cpp. Nothing is ever compiled or downloaded.
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel, NoBinaryFoundError } from "node-llama-cpp";
import type { Config } from "../config.ts";
import type { Logger } from "../telemetry/log.ts";

/** @throws Error when the device that GPU names is not there: no silent fall back to the CPU. */
export async function loadBackend(config: Pick<Config, "gpu">, log: Logger): Promise<Llama> {
  const wanted = config.gpu;
  let llama: Llama;
  try {
    llama = await getLlama({
      build: "never",
      skipDownload: true,
      progressLogs: false,
      gpu: wanted === "cpu" ? false : wanted,
      logLevel: LlamaLogLevel.warn,
      logger: (level, message) => logEngineMessage(log, level, message),
    });
  } catch (cause) {
    if (!(cause instanceof NoBinaryFoundError)) throw cause;
    throw new Error(`GPU=${wanted}: no such device or driver was found; use GPU=auto or GPU=cpu to run without it`, {
      cause,
    });
  }
  await reportDevice(llama, wanted, log);
  return llama;
}

async function reportDevice(llama: Llama, wanted: Config["gpu"], log: Logger): Promise<void> {
  if (llama.gpu === false) {
    if (wanted === "auto") log.warn("no GPU was found: the model runs on the CPU");
    return;
  }
  const devices = await llama.getGpuDeviceNames();
  if (devices.length === 0) throw new Error(`GPU=${wanted}: the ${llama.gpu} backend loaded, but it sees no device`);
  const memory = await llama.getVramState();
  log.info({ backend: llama.gpu, devices, freeBytes: memory.free, totalBytes: memory.total }, "GPU found");
}

/** Of all GPUs, other programs' use included; zeros on the CPU. */
export async function gpuMemory(llama: Llama): Promise<{ readonly usedBytes: number; readonly totalBytes: number }> {
  if (llama.gpu === false) return { usedBytes: 0, totalBytes: 0 };
  const { used: usedBytes, total: totalBytes } = await llama.getVramState();
  return { usedBytes, totalBytes };
}

function logEngineMessage(log: Logger, level: LlamaLogLevel, message: string): void {
  const text = message.trim();
  if (level === LlamaLogLevel.fatal || level === LlamaLogLevel.error) log.error({ from: "llama.cpp" }, text);
  else if (level === LlamaLogLevel.warn) log.warn({ from: "llama.cpp" }, text);
  else log.debug({ from: "llama.cpp" }, text);
}

export type LoadModelOptions = {
  readonly path: string;
  readonly signal: AbortSignal;
  /** 0 to 1. */
  readonly onProgress: (fraction: number) => void;
};

export async function loadModel(llama: Llama, config: Config, options: LoadModelOptions): Promise<LlamaModel> {
  return llama.loadModel({
    modelPath: options.path,
    gpuLayers: llama.gpu === false ? 0 : config.ngl,
    useMmap: config.mmap,
    useMlock: config.mlock,
    loadSignal: options.signal,
    onLoadProgress: options.onProgress,
  });
}
