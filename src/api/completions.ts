// POST /v1/completions.
import type { Engine } from "../engine/engine.ts";
import { readJsonObject } from "../http/body.ts";
import { createHead } from "../openai/answer.ts";
import { CompletionAnswer } from "../openai/completion-chunks.ts";
import { type PromptPiece, parseCompletionRequest } from "../openai/completion-request.ts";
import { invalidValue } from "../openai/refusals.ts";
import { answerWith, limitsOf, type Prompt, planChoices, resolveBias, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";

export const completions: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = parseCompletionRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts));
  const { settings, ignored } = request;
  const logitBias = await resolveBias(engine, settings);
  const prompts: Prompt[] = [];
  for (const pieces of request.prompts) prompts.push({ tokens: await tokenizePieces(engine, pieces) });
  const choices = planChoices(ctx, parts, { engine, settings, logitBias, prompts, param: "prompt" });
  const form = new CompletionAnswer(createHead("cmpl-", engine.model), settings.includeUsage);
  await answerWith(ctx, parts, { engine, settings, ignored, choices, form });
};

/** Text at the very beginning gets the BOS the model wants; token ids are taken as they are. */
async function tokenizePieces(engine: Engine, pieces: readonly PromptPiece[]): Promise<Int32Array> {
  const tokens: number[] = [];
  for (const [index, piece] of pieces.entries()) {
    if (typeof piece === "number") tokens.push(piece);
    else for (const token of await engine.tokenize(piece, index === 0, true)) tokens.push(token);
  }
  if (tokens.length === 0) throw invalidValue("prompt", "it came to no tokens; this model puts none before a text");
  return Int32Array.from(tokens);
}
