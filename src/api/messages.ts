// POST /v1/messages and /v1/messages/count_tokens.
import { MessageAnswer } from "../anthropic/message-answer.ts";
import { parseCountRequest, parseMessagesRequest } from "../anthropic/messages-request.ts";
import { readJsonObject } from "../http/body.ts";
import type { StreamForm } from "../http/event-stream.ts";
import { anthropicError } from "../http/failure-answer.ts";
import { createHead } from "../openai/answer.ts";
import { formatIgnored } from "../openai/ignored-parameters.ts";
import { answerWith, limitsOf, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { inTurns } from "./in-turns.ts";
import { ignoredBy, planChat, renderOnly } from "./render.ts";

/** Named events; a silence is one of them, and message_stop is the end. */
export const messageStream: StreamForm = {
  named: true,
  onSilence: () => [{ type: "ping" }],
  onEnd: () => [],
  onFailure: (failure) => [anthropicError(failure)],
};

export const messages: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = await inTurns(parseMessagesRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts)));
  const { settings } = request;
  const { rendered, choices } = await planChat(ctx, parts, { ...request, engine, param: "messages" });
  const { prompt, maxTokens } = choices[0]!;
  const form = new MessageAnswer(createHead("msg_", engine.model), prompt.length, {
    stopSequences: settings.stop,
    maxTokens,
    limitedByContext: maxTokens < settings.maxTokens && prompt.length + maxTokens === engine.model.contextTokens,
  });
  const onStart = (cachedTokens: number) => form.prefillBegan(cachedTokens);
  await answerWith(ctx, parts, {
    engine,
    settings,
    ignored: ignoredBy(engine, request, rendered),
    choices: choices.map((choice) => ({ ...choice, onStart })),
    form,
    streamForm: messageStream,
  });
};

/** Counts without judging whether the prompt fits, and never queues. */
export const countTokens: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = await inTurns(parseCountRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts)));
  const rendered = await renderOnly(engine, request);
  const report = formatIgnored(ignoredBy(engine, request, rendered));
  if (report) ctx.set("x-ignored-parameters", report);
  ctx.body = { input_tokens: rendered.tokens.length };
};
