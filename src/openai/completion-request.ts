// The body of POST /v1/completions -> a valid request, or the Failure that names the field.
import { z } from "zod";
import { integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { type PromptPiece, parsePrompts } from "./prompt-pieces.ts";
import { invalidValue, unsupported } from "./refusals.ts";
import { type GenerationSettings, type RequestLimits, samplingFields, toSettings } from "./sampling-fields.ts";
import { impossible, refuseUnsupported } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type CompletionRequest = {
  /** One or more prompts of at least one piece each. */
  readonly prompts: readonly (readonly PromptPiece[])[];
  /** They are the items of an array. */
  readonly listed: boolean;
  /** The only prompt is a text, and the answer goes between it and this one. */
  readonly suffix?: string;
  /** The prompt is put before each answer. */
  readonly echo: boolean;
  /** The log-probabilities are to have llama-server's shape (n_probs). */
  readonly nativeLogprobs: boolean;
  readonly settings: GenerationSettings;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

export const schema = z.object({
  prompt: z.unknown(),
  best_of: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  logprobs: integer(0, 20).optional(),
  echo: z.boolean().optional(),
  suffix: z.string().optional(),
  ...samplingFields(0),
});

type Fields = z.output<typeof schema>;

const known: ReadonlySet<string> = new Set(Object.keys({ ...schema.shape, ...impossible }));

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
  refuseUnsupported(body, impossible);
  const fields = validate(schema, body);
  const { vocabSize } = limits;
  const { prompts, listed } = parsePrompts(fields.prompt, { name: "prompt", most: maxPrompts, vocabSize });
  const settings = toSettings(fields, limits, routeMaxTokens);
  checkCombinations(fields, settings, prompts.length);
  const echo = fields.echo ?? false;
  const { logprobs = settings.logprobs } = fields;
  // An empty one asks for nothing: the answer goes to the end.
  const suffix = fields.suffix || undefined;
  return {
    prompts,
    listed,
    ...(suffix !== undefined && { suffix }),
    echo,
    nativeLogprobs: fields.logprobs === undefined && logprobs !== undefined,
    settings: {
      ...settings,
      ...(logprobs !== undefined && { logprobs }),
      ...(echo && fields.logprobs !== undefined && { promptLogprobs: fields.logprobs }),
    },
    ignored: [...ignoredFields(body, known), ...(fields.logprobs !== undefined && fields.n_probs ? ["n_probs"] : [])],
  };
}

/** @throws Failure unsupported_value or invalid_value */
function checkCombinations(
  { best_of, suffix, echo, prompt }: Fields,
  { n }: GenerationSettings,
  prompts: number,
): void {
  if (best_of !== undefined && best_of !== n) {
    throw unsupported("unsupported_value", "best_of", "only the value of 'n' is accepted");
  }
  if (prompts * n > maxAnswers) {
    throw invalidValue("n", `expected at most ${maxAnswers} answers, got ${prompts} prompts x ${n}`);
  }
  if (!suffix) return;
  if (typeof prompt !== "string") throw invalidValue("suffix", "it needs a 'prompt' that is one string");
  if (echo) throw invalidValue("suffix", "it excludes 'echo'");
}
