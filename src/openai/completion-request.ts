// The body of POST /v1/completions -> a valid request, or the Failure that names the field.
import { z } from "zod";
import { integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { type PromptPiece, parsePrompts } from "./prompt-pieces.ts";
import { invalidValue, unsupported } from "./refusals.ts";
import { type GenerationSettings, type RequestLimits, samplingFields, toSettings } from "./sampling-fields.ts";
import { refuseUnsupported, unsupportedFields } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type CompletionRequest = {
  /** One or more prompts of at least one piece each. */
  readonly prompts: readonly (readonly PromptPiece[])[];
  readonly settings: GenerationSettings;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

export const schema = z.object({
  prompt: z.unknown(),
  best_of: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  ...samplingFields(0),
});

const { impossible, notYet } = unsupportedFields.completions;
const known: ReadonlySet<string> = new Set(Object.keys({ ...schema.shape, ...impossible, ...notYet }));

/** OpenAI's own default. */
const routeMaxTokens = 16;
const maxPrompts = 64;
const maxAnswers = 128;

/** @throws Failure 400, or 404 model_not_found */
export function parseCompletionRequest(
  json: JsonObject,
  limits: RequestLimits & { readonly vocabSize: number },
): CompletionRequest {
  const body = withoutNulls(json);
  refuseUnsupported(body, unsupportedFields.completions);
  const fields = validate(schema, body);
  const { vocabSize } = limits;
  const { prompts } = parsePrompts(fields.prompt, { name: "prompt", most: maxPrompts, vocabSize });
  const settings = toSettings(fields, limits, routeMaxTokens);
  if (fields.best_of !== undefined && fields.best_of !== settings.n) {
    throw unsupported("unsupported_value", "best_of", "only the value of 'n' is accepted");
  }
  if (prompts.length * settings.n > maxAnswers) {
    throw invalidValue("n", `expected at most ${maxAnswers} answers, got ${prompts.length} prompts x ${settings.n}`);
  }
  return { prompts, settings, ignored: ignoredFields(body, known) };
}
