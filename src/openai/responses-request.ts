// The body of POST /v1/responses -> a valid request, or the Failure that names the field (API.md section 11). Nothing is stored, so
// everything that refers to something stored is refused.
import { z } from "zod";
import type { ChatPrompt } from "../engine/engine.ts";
import { mergeLeading } from "./chat-messages.ts";
import { checked, integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { checkSchema } from "./json-schema.ts";
import type { Paced } from "./paced.ts";
import {
  efforts,
  type ReasoningSettings,
  reasoningFields,
  type TemplateNeed,
  toReasoning,
  toTurn,
  turnFields,
} from "./reasoning-fields.ts";
import { invalidValue } from "./refusals.ts";
import { inputField, toMessages } from "./responses-input.ts";
import type { ResponseEcho } from "./responses-object.ts";
import { toolFields, toTools } from "./responses-tools.ts";
import {
  checkModel,
  type GenerationSettings,
  type RequestLimits,
  samplingFields,
  toSettings,
} from "./sampling-fields.ts";
import { refuseGrammar } from "./tools.ts";
import { impossibleInResponses, refuseUnsupported } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type ResponsesRequest = {
  readonly prompt: ChatPrompt;
  readonly settings: GenerationSettings;
  /** What the answer tells again. */
  readonly echo: ResponseEcho;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
  /** Fields that are ignored too where the template lacks something. */
  readonly needs: readonly TemplateNeed[];
};

const outputLimit = checked(integer(-1, 2 ** 31 - 1), (limit) => {
  if (limit !== 0) return undefined;
  return { kind: "integer_below_min_value", rule: "expected -1 or a value >= 1, got 0" };
});

const formatField = z.object({
  type: z.enum(["text", "json_object", "json_schema"]),
  name: z.string().nullish(),
  schema: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

export const responsesSchema = z.object({
  input: inputField,
  instructions: z.string().optional(),
  max_output_tokens: outputLimit.optional(),
  include: z.array(z.string()).max(16).optional(),
  top_logprobs: integer(0, 20).optional(),
  text: z.object({ format: formatField.nullish(), verbosity: z.unknown().optional() }).optional(),
  reasoning: z.object({ effort: z.enum(efforts).nullish() }).optional(),
  ...toolFields,
  ...samplingFields(1),
  ...reasoningFields,
  ...turnFields,
});

type Fields = z.output<typeof responsesSchema>;

const known: ReadonlySet<string> = new Set(Object.keys({ ...responsesSchema.shape, ...impossibleInResponses }));

/** Without a limit of its own an answer may use all the room. */
const routeMaxTokens = -1;

/** @throws Failure 400, or 404 model_not_found */
export function* parseResponsesRequest(json: JsonObject, limits: RequestLimits): Paced<ResponsesRequest> {
  const body = withoutNulls(json);
  refuseUnsupported(body, impossibleInResponses);
  const fields = validate(responsesSchema, body);
  yield;
  checkModel(fields.model, limits);
  const messages = toMessages(fields.input);
  if (fields.instructions) messages.unshift({ role: "system", content: fields.instructions });
  const reasoning = reasoningOf(fields);
  yield;
  const settings = settingsOf(fields, limits, reasoning);
  yield;
  const tools = yield* toTools(fields);
  refuseGrammar(settings.grammar, tools.prompt);
  const prompt: ChatPrompt = {
    messages: mergeLeading(messages),
    ...tools.prompt,
    ...formOf(fields, settings),
    ...(settings.grammar !== undefined && { grammar: settings.grammar }),
    ...reasoning.prompt,
    ...toTurn(fields, messages, tools.prompt.toolChoice === "required"),
  };
  const ignored = [...ignoredFields(body, known), ...tools.ignored, ...ignoredMembers(fields)];
  return { prompt, settings, echo: echoOf(fields, body, settings), ignored, needs: reasoning.needs };
}

/** The route's own member wins over the field of other dialects. */
function reasoningOf(fields: Fields): ReasoningSettings {
  const effort = fields.reasoning?.effort;
  if (!effort) return toReasoning(fields);
  const settings = toReasoning({ ...fields, reasoning_effort: effort });
  const rename = (need: TemplateNeed) =>
    need.field === "reasoning_effort" ? { ...need, field: "reasoning.effort" } : need;
  return { ...settings, needs: settings.needs.map(rename) };
}

/** The route's own limit wins over those of other dialects; there is one answer, and it always tells its usage. */
function settingsOf(fields: Fields, limits: RequestLimits, reasoning: ReasoningSettings): GenerationSettings {
  const limited = fields.max_output_tokens === undefined ? fields : { ...fields, n_predict: fields.max_output_tokens };
  const { logprobs: _, ...settings } = toSettings(limited, { ...limits, maxChoices: 1 }, routeMaxTokens);
  return {
    ...settings,
    ...(wantsLogprobs(fields) && { logprobs: fields.top_logprobs ?? 0 }),
    includeUsage: false,
    reasoning: { reasoningBudget: reasoning.budget, reasoningBudgetMessage: reasoning.budgetMessage },
  };
}

/**
 * At most one of text.format, json_schema and grammar decides the form.
 * @throws Failure invalid_json_schema, schema_too_complex, or invalid_value
 */
function formOf(
  { text }: Fields,
  { grammar, jsonSchema }: GenerationSettings,
): Pick<ChatPrompt, "jsonSchema" | "schemaParam"> {
  const format = text?.format && text.format.type !== "text" ? text.format : undefined;
  if (format && jsonSchema) throw invalidValue("json_schema", "it excludes a JSON 'text.format'");
  if (format && grammar !== undefined) throw invalidValue("grammar", "it excludes a JSON 'text.format'");
  if (!format) return jsonSchema ? { jsonSchema, schemaParam: "json_schema" } : {};
  const { schema } = checkSchema(format.schema ?? undefined, "text.format.schema", { strict: true });
  return { jsonSchema: schema, schemaParam: "text.format" };
}

function echoOf(fields: Fields, body: JsonObject, { sampling }: GenerationSettings): ResponseEcho {
  return {
    instructions: fields.instructions ?? null,
    max_output_tokens: fields.max_output_tokens ?? null,
    metadata: fields.metadata ?? {},
    parallel_tool_calls: fields.parallel_tool_calls ?? true,
    reasoning: { effort: fields.reasoning?.effort ?? null, summary: null },
    temperature: sampling.temperature,
    text: { ...fields.text, format: fields.text?.format ?? { type: "text" } },
    tool_choice: body.tool_choice ?? "auto",
    tools: Array.isArray(body.tools) ? body.tools : [],
    top_p: sampling.topP,
  };
}

const logprobsName = "message.output_text.logprobs";
const includable: ReadonlySet<string> = new Set([logprobsName, "reasoning.encrypted_content"]);

const wantsLogprobs = ({ include }: Fields): boolean => include?.includes(logprobsName) ?? false;

/** Fields and parts of fields that are understood but have no effect here. */
function ignoredMembers(fields: Fields): string[] {
  const { include = [], text, top_logprobs, n_probs } = fields;
  return [
    ...include.filter((name) => !includable.has(name)).map((name) => `include=${name}`),
    ...(text?.verbosity === undefined ? [] : ["text.verbosity"]),
    ...(top_logprobs && !wantsLogprobs(fields) ? ["top_logprobs"] : []),
    ...(n_probs ? ["n_probs"] : []),
  ];
}
