// POST /infill: fills in the middle, as llama-server's clients want it.
import { readJsonObject } from "../http/body.ts";
import { pingComment, type StreamForm } from "../http/event-stream.ts";
import { InfillAnswer } from "../openai/infill-answer.ts";
import { parseInfillRequest } from "../openai/infill-request.ts";
import { toGenerationSettings } from "../openai/timings.ts";
import { infillPrompt } from "./fill-in-the-middle.ts";
import { answerWith, limitsOf, planChoices, resolveBias, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { textOf } from "./pieces.ts";

/** Its row of API.md section 4: the last object of an answer is its normal end. */
const infillStream: StreamForm = {
  named: false,
  onSilence: () => [pingComment],
  onEnd: () => [],
  onFailure: (failure) => [{ error: failure.toErrorObject() }],
};

export const infill: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = parseInfillRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts));
  const { settings, ignored } = request;
  const logitBias = await resolveBias(engine, settings);
  const tokens = await infillPrompt(engine, request);
  const planned = await planChoices(ctx, parts, {
    engine,
    settings,
    logitBias,
    prompts: [{ tokens }],
    param: "prompt",
  });
  // Every object of a stream counts the tokens so far.
  const choices = planned.map((choice) => ({ ...choice, ...(settings.stream && { reportTimings: true }) }));
  const { sampling, maxTokens } = choices[0]!;
  const form = new InfillAnswer({
    model: engine.model.name,
    prompt: textOf(engine, tokens),
    promptTokens: tokens.length,
    generationSettings: toGenerationSettings(settings, sampling, maxTokens),
    timingsPerToken: settings.report.timingsPerToken,
  });
  await answerWith(ctx, parts, { engine, settings, ignored, choices, form, streamForm: infillStream });
};
