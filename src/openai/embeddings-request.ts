// The body of POST /v1/embeddings -> a valid request, or the Failure that names the field (API.md section 9).
import { z } from "zod";
import { integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { type PromptPiece, parsePrompts } from "./prompt-pieces.ts";
import { outOfRange } from "./refusals.ts";
import { checkModel, type RequestLimits } from "./sampling-fields.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";
import type { VectorForm } from "./vectors.ts";

export type EmbeddingsRequest = {
  /** At least one, of at least one piece each; `path` is where it stands in the body. */
  readonly inputs: readonly { readonly pieces: readonly PromptPiece[]; readonly path: string }[];
  readonly form: VectorForm;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

export type EmbeddingsLimits = Pick<RequestLimits, "config" | "modelName"> & {
  readonly vocabSize: number;
  /** Numbers in one vector. */
  readonly width: number;
};

const text = { type: "string", minLength: 1 };
const pieces = { type: "array", minItems: 1, items: { anyOf: [{ type: "integer", minimum: 0 }, text] } };
const maxInputs = 2048;

export const schema = z.object({
  input: z.unknown().meta({
    anyOf: [text, pieces, { type: "array", minItems: 1, maxItems: maxInputs, items: { anyOf: [text, pieces] } }],
  }),
  model: z.string().max(256).optional(),
  encoding_format: z.enum(["float", "base64"]).optional(),
  dimensions: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  embd_normalize: integer(-1, 32).optional(),
});

const known: ReadonlySet<string> = new Set(Object.keys(schema.shape));

/** @throws Failure 400, or 404 model_not_found */
export function parseEmbeddingsRequest(json: JsonObject, limits: EmbeddingsLimits): EmbeddingsRequest {
  const body = withoutNulls(json);
  const { input, model, encoding_format, dimensions, embd_normalize } = validate(schema, body);
  const { vocabSize, width } = limits;
  const { prompts, listed } = parsePrompts(input, { name: "input", most: maxInputs, vocabSize });
  const inputs = prompts.map((pieces, index) => ({ pieces, path: listed ? `input[${index}]` : "input" }));
  for (const { pieces, path } of inputs) if (pieces.includes("")) throw empty(path);
  if (dimensions !== undefined && dimensions > width) {
    throw outOfRange("integer_above_max_value", "dimensions", `expected a value <= ${width}, got ${dimensions}`);
  }
  checkModel(model, limits);
  const form = { base64: encoding_format === "base64", dimensions: dimensions ?? width, norm: embd_normalize ?? 2 };
  return { inputs, form, ignored: ignoredFields(body, known) };
}

function empty(path: string) {
  return outOfRange("string_below_min_length", path, "expected at least 1 characters, got 0");
}
