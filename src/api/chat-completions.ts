// POST /v1/chat/completions.
import { readJsonObject } from "../http/body.ts";
import { createHead } from "../openai/answer.ts";
import { ChatAnswer } from "../openai/chat-chunks.ts";
import { parseChatRequest } from "../openai/chat-request.ts";
import { answerWith, limitsOf, planChoices, resolveBias, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";

export const chatCompletions: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const { messages, settings, ignored } = parseChatRequest(
    await readJsonObject(ctx, parts.config),
    limitsOf(engine, parts),
  );
  const logitBias = await resolveBias(engine, settings);
  const prompts = [await engine.renderChat({ messages })];
  const choices = planChoices(ctx, parts, { engine, settings, logitBias, prompts, param: "messages" });
  const head = createHead("chatcmpl-", engine.model);
  const form = new ChatAnswer(head, parts.config.reasoningField, settings.includeUsage);
  await answerWith(ctx, parts, { engine, settings, ignored, choices, form });
};
