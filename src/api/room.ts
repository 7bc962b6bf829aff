// How many tokens an answer may have beside its prompt (API.md section 5, "Room"). Never truncates a prompt.
import type { Config } from "../config.ts";
import type { ModelInfo } from "../engine/engine.ts";
import { Failure } from "../errors.ts";

/**
 * The request's token limit, cut to the room its prompt leaves and to the operator's cap.
 * @param asked -1 = all the room; 0 = only evaluate the prompt, which may then fill the context
 * @param param the field that holds the prompt
 * @throws Failure context_length_exceeded
 */
export function roomFor(
  promptTokens: number,
  asked: number,
  param: "messages" | "prompt" | "input",
  { model, config }: { model: ModelInfo; config: Pick<Config, "maxOutputTokens"> },
): number {
  const room = model.contextTokens - promptTokens;
  if (room < 0 || (room === 0 && asked !== 0)) throw tooLong(promptTokens, model.contextTokens, param);
  const cap = config.maxOutputTokens || Number.POSITIVE_INFINITY;
  return Math.min(room, cap, asked === -1 ? Number.POSITIVE_INFINITY : asked);
}

function tooLong(promptTokens: number, contextTokens: number, param: string): Failure {
  const message = `This model's maximum context length is ${contextTokens} tokens; ${param} came to ${promptTokens}, which exceeds the available context size.`;
  return new Failure("context_length_exceeded", message, {
    param,
    extra: { n_prompt_tokens: promptTokens, n_ctx: contextTokens },
  });
}
