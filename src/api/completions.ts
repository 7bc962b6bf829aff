// POST /v1/completions.
import { readJsonObject } from "../http/body.ts";
import { createHead } from "../openai/answer.ts";
import { CompletionAnswer } from "../openai/completion-chunks.ts";
import { parseCompletionRequest } from "../openai/completion-request.ts";
import { answerWith, limitsOf, type Prompt, planChoices, resolveBias, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { tokenizePieces } from "./pieces.ts";

export const completions: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = parseCompletionRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts));
  const { settings, ignored } = request;
  const logitBias = await resolveBias(engine, settings);
  const prompts: Prompt[] = [];
  for (const pieces of request.prompts) prompts.push({ tokens: await tokenizePieces(engine, pieces, "prompt") });
  const choices = planChoices(ctx, parts, { engine, settings, logitBias, prompts, param: "prompt" });
  const form = new CompletionAnswer(createHead("cmpl-", engine.model), settings.includeUsage);
  await answerWith(ctx, parts, { engine, settings, ignored, choices, form });
};
