// The body of POST /v1/completions -> a valid request, or the Failure that names the field.
import { z } from "zod";
import { integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { checkTokenId } from "./logit-bias.ts";
import { invalidValue, missing, outOfRange, unsupported, wrongType } from "./refusals.ts";
import { type GenerationSettings, type RequestLimits, samplingFields, toSettings } from "./sampling-fields.ts";
import { refuseUnsupported, unsupportedFields } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

/** Text and token ids in the order they are to be read. */
export type PromptPiece = string | number;

export type CompletionRequest = {
  /** One or more prompts of at least one piece each. */
  readonly prompts: readonly (readonly PromptPiece[])[];
  readonly settings: GenerationSettings;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

const schema = z.object({
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
  const prompts = toPrompts(fields.prompt, limits.vocabSize);
  const settings = toSettings(fields, limits, routeMaxTokens);
  if (fields.best_of !== undefined && fields.best_of !== settings.n) {
    throw unsupported("unsupported_value", "best_of", "only the value of 'n' is accepted");
  }
  if (prompts.length * settings.n > maxAnswers) {
    throw invalidValue("n", `expected at most ${maxAnswers} answers, got ${prompts.length} prompts x ${settings.n}`);
  }
  return { prompts, settings, ignored: ignoredFields(body, known) };
}

/** A number among the items means one prompt of mixed pieces; otherwise each item is a prompt. */
function toPrompts(prompt: unknown, vocabSize: number): PromptPiece[][] {
  if (prompt === undefined) throw missing("prompt");
  if (typeof prompt === "string") return [[prompt]];
  if (!Array.isArray(prompt)) throw wrongType("prompt", "a string or an array", prompt);
  if (prompt.length === 0) throw tooShort("prompt");
  const isOnePrompt = prompt.some((item) => typeof item === "number") && !prompt.some(Array.isArray);
  if (isOnePrompt) return [toPieces(prompt, "prompt", vocabSize)];
  if (prompt.length > maxPrompts) {
    throw outOfRange(
      "array_above_max_length",
      "prompt",
      `expected at most ${maxPrompts} prompts, got ${prompt.length}`,
    );
  }
  return prompt.map((item: unknown, index) => {
    const path = `prompt[${index}]`;
    if (typeof item === "string") return [item];
    if (!Array.isArray(item)) throw wrongType(path, "a string or an array", item);
    return toPieces(item, path, vocabSize);
  });
}

function toPieces(items: readonly unknown[], path: string, vocabSize: number): PromptPiece[] {
  if (items.length === 0) throw tooShort(path);
  for (const [index, item] of items.entries()) {
    if (typeof item === "string") continue;
    if (!Number.isInteger(item)) throw wrongType(`${path}[${index}]`, "an integer or a string", item);
    checkTokenId(item as number, vocabSize, `${path}[${index}]`);
  }
  return items as PromptPiece[];
}

function tooShort(path: string) {
  return outOfRange("array_below_min_length", path, "expected at least 1 items, got 0");
}
