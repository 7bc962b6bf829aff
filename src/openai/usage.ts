// The usage object of an answer (API.md section 8).
import type { Usage } from "../engine/engine.ts";

export type UsageObject = {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
};

/**
 * Prompts count once each, sampled tokens of every choice.
 * @param usages of all choices, by choice index
 * @param n choices for each prompt
 */
export function sumUsage(usages: readonly Usage[], n: number): UsageObject {
  let prompt = 0;
  let cached = 0;
  let completion = 0;
  let reasoning = 0;
  for (const [index, usage] of usages.entries()) {
    if (index % n === 0) {
      prompt += usage.promptTokens;
      cached += usage.cachedTokens;
    }
    completion += usage.completionTokens;
    reasoning += usage.reasoningTokens;
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}
