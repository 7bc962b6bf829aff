// POST /v1/chat/completions.
import { readJsonObject } from "../http/body.ts";
import { createHead } from "../openai/answer.ts";
import { ChatAnswer } from "../openai/chat-chunks.ts";
import { parseChatRequest } from "../openai/chat-request.ts";
import { toGenerationSettings } from "../openai/timings.ts";
import { answerWith, limitsOf, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { inTurns } from "./in-turns.ts";
import { ignoredBy, planChat, promptText } from "./render.ts";

export const chatCompletions: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = await inTurns(parseChatRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts)));
  const { settings, nativeLogprobs } = request;
  const { rendered, choices } = await planChat(ctx, parts, { ...request, engine, param: "messages" });
  const { sampling, maxTokens } = choices[0]!;
  const { verbose, timings, timingsPerToken } = settings.report;
  const form = new ChatAnswer(createHead("chatcmpl-", engine.model), {
    reasoningField: parts.config.reasoningField,
    includeUsage: settings.includeUsage,
    choices: choices.length,
    nativeLogprobs,
    timings,
    timingsPerToken,
    verbose: verbose
      ? { prompt: promptText(rendered), generation_settings: toGenerationSettings(settings, sampling, maxTokens) }
      : undefined,
  });
  await answerWith(ctx, parts, { engine, settings, ignored: ignoredBy(engine, request, rendered), choices, form });
};
