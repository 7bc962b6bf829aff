// The bodies of POST /tokenize and /detokenize, as llama-server has them -> valid requests, or the Failure that names the field.
import { z } from "zod";
import { ignoredFields } from "./ignored-parameters.ts";
import { type PromptPiece, toPieces } from "./prompt-pieces.ts";
import { wrongType } from "./refusals.ts";
import { checkModel, type RequestLimits } from "./sampling-fields.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type TokenLimits = Pick<RequestLimits, "config" | "modelName"> & { readonly vocabSize: number };

export type TokenizeRequest = {
  /** May be empty. */
  readonly pieces: readonly PromptPiece[];
  readonly addSpecial: boolean;
  readonly parseSpecial: boolean;
  readonly withPieces: boolean;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

const model = z.string().max(256).optional();
const content = [{ type: "string" }, { type: "array", items: { anyOf: [{ type: "integer" }, { type: "string" }] } }];

export const tokenizeSchema = z.object({
  content: z.unknown().meta({ anyOf: content }).optional(),
  add_special: z.boolean().optional(),
  parse_special: z.boolean().optional(),
  with_pieces: z.boolean().optional(),
  model,
});

export const detokenizeSchema = z.object({
  tokens: z
    .unknown()
    .meta({ type: "array", items: { type: "integer", minimum: 0 } })
    .optional(),
  model,
});

const tokenizeFields: ReadonlySet<string> = new Set(Object.keys(tokenizeSchema.shape));
const detokenizeFields: ReadonlySet<string> = new Set(Object.keys(detokenizeSchema.shape));

/** @throws Failure 400, or 404 model_not_found */
export function parseTokenizeRequest(json: JsonObject, limits: TokenLimits): TokenizeRequest {
  const body = withoutNulls(json);
  const fields = validate(tokenizeSchema, body);
  const pieces = piecesOf(fields.content, limits.vocabSize);
  checkModel(fields.model, limits);
  return {
    pieces,
    addSpecial: fields.add_special ?? false,
    parseSpecial: fields.parse_special ?? true,
    withPieces: fields.with_pieces ?? false,
    ignored: ignoredFields(body, tokenizeFields),
  };
}

function piecesOf(value: unknown, vocabSize: number): readonly PromptPiece[] {
  if (value === undefined) return [];
  if (typeof value === "string") return [value];
  if (!Array.isArray(value)) throw wrongType("content", "a string or an array", value);
  return value.length === 0 ? [] : toPieces(value, "content", vocabSize);
}

/** @throws Failure 400, or 404 model_not_found */
export function parseDetokenizeRequest(
  json: JsonObject,
  limits: TokenLimits,
): { readonly tokens: Int32Array; readonly ignored: readonly string[] } {
  const body = withoutNulls(json);
  const { tokens = [], model } = validate(detokenizeSchema, body);
  if (!Array.isArray(tokens)) throw wrongType("tokens", "an array", tokens);
  const other = tokens.findIndex((token) => !Number.isInteger(token));
  if (other >= 0) throw wrongType(`tokens[${other}]`, "an integer", tokens[other]);
  const ids = tokens.length === 0 ? [] : toPieces(tokens, "tokens", limits.vocabSize);
  checkModel(model, limits);
  return { tokens: Int32Array.from(ids as number[]), ignored: ignoredFields(body, detokenizeFields) };
}
