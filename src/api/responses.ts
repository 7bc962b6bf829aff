// POST /v1/responses.
import { readJsonObject } from "../http/body.ts";
import { pingComment, type StreamForm } from "../http/event-stream.ts";
import { createHead } from "../openai/answer.ts";
import { ResponseAnswer } from "../openai/responses-events.ts";
import { parseResponsesRequest } from "../openai/responses-request.ts";
import { toGenerationSettings } from "../openai/timings.ts";
import { answerWith, limitsOf, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { inTurns } from "./in-turns.ts";
import { ignoredBy, planChat, promptText } from "./render.ts";

export const responses: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = await inTurns(
    parseResponsesRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts)),
  );
  const { settings, echo } = request;
  const { rendered, choices } = await planChat(ctx, parts, { ...request, engine, param: "input" });
  const { sampling, maxTokens } = choices[0]!;
  const { timings, timingsPerToken, verbose } = settings.report;
  const form = new ResponseAnswer(createHead("resp_", engine.model), echo, {
    timings,
    timingsPerToken,
    verbose: verbose
      ? { prompt: promptText(rendered), generation_settings: toGenerationSettings(settings, sampling, maxTokens) }
      : undefined,
  });
  const ignored = ignoredBy(engine, request, rendered);
  await answerWith(ctx, parts, { engine, settings, ignored, choices, form, streamForm: streamOf(form) });
};

/** Its row of API.md section 4. The last event of an answer is its normal end. */
export function streamOf(form: ResponseAnswer): StreamForm {
  return {
    named: true,
    onSilence: () => [...form.opening(), pingComment, form.keepalive()],
    onEnd: () => [],
    onFailure: (failure) => form.failure(failure),
  };
}
