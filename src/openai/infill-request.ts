// The body of POST /infill, as llama-server has it -> a valid request, or the Failure that names the field (API.md section 13).
import { z } from "zod";
import { ignoredFields } from "./ignored-parameters.ts";
import { type GenerationSettings, type RequestLimits, samplingFields, toSettings } from "./sampling-fields.ts";
import { impossible, refuseUnsupported } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type InfillRequest = {
  readonly prefix: string;
  readonly suffix: string;
  /** What the middle begins with already; may be empty. */
  readonly begun: string;
  readonly extra: readonly { readonly text: string; readonly filename?: string | null | undefined }[];
  readonly settings: GenerationSettings;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

export const infillSchema = z.object({
  input_prefix: z.string(),
  input_suffix: z.string(),
  input_extra: z
    .array(z.object({ text: z.string(), filename: z.string().nullish() }))
    .max(64)
    .optional(),
  prompt: z.string().optional(),
  ...samplingFields(0),
});

const known: ReadonlySet<string> = new Set(Object.keys({ ...infillSchema.shape, ...impossible }));

/** Without a limit of its own an answer may use all the room. */
const routeMaxTokens = -1;

/** @throws Failure 400, or 404 model_not_found */
export function parseInfillRequest(json: JsonObject, limits: RequestLimits): InfillRequest {
  const body = withoutNulls(json);
  refuseUnsupported(body, impossible);
  const fields = validate(infillSchema, body);
  const settings = toSettings(fields, { ...limits, maxChoices: 1 }, routeMaxTokens);
  return {
    prefix: fields.input_prefix,
    suffix: fields.input_suffix,
    begun: fields.prompt ?? "",
    extra: fields.input_extra ?? [],
    // Its last object tells all counts.
    settings: { ...settings, includeUsage: false },
    ignored: ignoredFields(body, known),
  };
}
