// The timings of an answer and, on request, the settings as they took effect, by llama-server's names (API.md section 8).
import type { Measured, PrefillProgress, Sampling } from "../engine/engine.ts";
import type { GenerationSettings } from "./sampling-fields.ts";

/** Rates are 0 where no time passed. */
export function toTimings({ usage, timings }: Measured): object {
  const evaluated = usage.promptTokens - usage.cachedTokens;
  return {
    cache_n: usage.cachedTokens,
    prompt_n: evaluated,
    prompt_ms: timings.prefillMs,
    prompt_per_token_ms: per(timings.prefillMs, evaluated),
    prompt_per_second: per(evaluated * 1000, timings.prefillMs),
    predicted_n: usage.completionTokens,
    predicted_ms: timings.decodeMs,
    predicted_per_token_ms: per(timings.decodeMs, usage.completionTokens),
    predicted_per_second: per(usage.completionTokens * 1000, timings.decodeMs),
  };
}

/** The chunk, with the timings so far where they were asked for and are known. */
export function withTimings(chunk: object, measured: Measured | false | undefined): object {
  return measured ? { ...chunk, timings: toTimings(measured) } : chunk;
}

/** `prompt_progress` of a chunk; with `timings` what they come to while the prompt is evaluated. */
export function toProgress(progress: PrefillProgress, timings: boolean): object {
  const { promptTokens, cachedTokens, processedTokens, ms } = progress;
  const usage = { promptTokens: processedTokens, cachedTokens, completionTokens: 0, reasoningTokens: 0 };
  return {
    prompt_progress: { total: promptTokens, cache: cachedTokens, processed: processedTokens, time_ms: ms },
    ...(timings && { timings: toTimings({ usage, timings: { queueMs: 0, prefillMs: ms, decodeMs: 0 } }) }),
  };
}

const per = (amount: number, divisor: number): number => (divisor > 0 ? amount / divisor : 0);

/**
 * @param sampling of the first choice
 * @param maxTokens as granted
 */
export function toGenerationSettings(settings: GenerationSettings, sampling: Sampling, maxTokens: number): object {
  return {
    seed: sampling.seed,
    temperature: sampling.temperature,
    dynatemp_range: sampling.dynatempRange ?? 0,
    dynatemp_exponent: sampling.dynatempExponent ?? 1,
    top_k: sampling.topK,
    top_p: sampling.topP,
    min_p: sampling.minP,
    top_n_sigma: sampling.topNSigma ?? -1,
    xtc_probability: sampling.xtcProbability ?? 0,
    xtc_threshold: sampling.xtcThreshold ?? 0.1,
    typical_p: sampling.typicalP ?? 1,
    repeat_last_n: sampling.repeatLastN,
    repeat_penalty: sampling.repeatPenalty,
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
    dry_multiplier: sampling.dryMultiplier ?? 0,
    dry_base: sampling.dryBase ?? 1.75,
    dry_allowed_length: sampling.dryAllowedLength ?? 2,
    dry_penalty_last_n: sampling.dryPenaltyLastN ?? 64,
    dry_sequence_breakers: sampling.drySequenceBreakers ?? ["\n", ":", '"', "*"],
    mirostat: sampling.mirostat ?? 0,
    mirostat_tau: sampling.mirostatTau ?? 5,
    mirostat_eta: sampling.mirostatEta ?? 0.1,
    stop: settings.stop,
    max_tokens: maxTokens,
    n_predict: maxTokens,
    t_max_predict_ms: settings.maxDecodeMs ?? 0,
    ignore_eos: settings.ignoreEnd,
    cache_prompt: settings.cachePrompt,
    stream: settings.stream,
    logit_bias: sampling.logitBias.map(([token, bias]) => ({ token, bias: Number.isFinite(bias) ? bias : false })),
    n_probs: settings.logprobs ?? 0,
    grammar: settings.grammar ?? "",
    ...(settings.jsonSchema && { json_schema: settings.jsonSchema }),
    samplers: sampling.samplers ?? defaultSamplers,
    lora: settings.loraScales.map((scale, id) => ({ id, scale })),
    timings_per_token: settings.report.timingsPerToken,
    return_progress: settings.report.progress,
  };
}

const defaultSamplers = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"];
