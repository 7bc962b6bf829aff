// The first request of a loaded engine is its own. Also tells whether a full batch would hold up the liveness probe.
import type { Config } from "../config.ts";
import { Failure } from "../errors.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Engine, GenerationRequest } from "./engine.ts";

/** Prompt tokens of the warm-up: enough to tell the prefill speed, few enough for a slow CPU. */
const warmUpTokens = 16;

export type WarmUpOptions = { readonly config: Config; readonly log: Logger; readonly signal: AbortSignal };

/**
 * One prefill and one decode step, and a chat's prompt: the first real request must not pay for lazily built kernels and buffers, nor
 * for finding out how the model writes its answers.
 */
export async function warmUp(engine: Engine, { config, log, signal }: WarmUpOptions): Promise<void> {
  await renderSome(engine);
  const sampling = { temperature: 0, topP: 1, topK: 40, minP: 0, seed: 0, repeatPenalty: 1, repeatLastN: 0 };
  const request: GenerationRequest = {
    prompt: new Int32Array(warmUpTokens),
    maxTokens: 2,
    stop: [],
    sampling: { ...sampling, frequencyPenalty: 0, presencePenalty: 0, logitBias: [] },
    cacheScope: null,
    signal,
  };
  for await (const event of engine.generate(request)) {
    if (event.type !== "finish") continue;
    const batchSeconds = (event.timings.prefillMs / warmUpTokens / 1000) * config.batch;
    if (batchSeconds < config.livenessStallSeconds / 2) return;
    log.warn(
      { BATCH: config.batch, batchSeconds: Math.round(batchSeconds) },
      "a full batch of prompt takes long beside LIVENESS_STALL_SECONDS; lower BATCH or raise it, or /livez may fail under load",
    );
  }
}

async function renderSome(engine: Engine): Promise<void> {
  try {
    await engine.renderChat({ messages: [{ role: "user", content: "Hello" }] });
  } catch (error) {
    // A template that wants other messages says so to those who chat.
    if (!(error instanceof Failure && error.kind === "chat_template_error")) throw error;
  }
}
