// The body of POST /v1/chat/completions -> a valid request, or the Failure that names the field.
import { z } from "zod";
import type { ChatPrompt } from "../engine/engine.ts";
import { messagesField, toChatMessages } from "./chat-messages.ts";
import { integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import type { Paced } from "./paced.ts";
import { reasoningFields, type TemplateNeed, toReasoning, toTurn, turnFields } from "./reasoning-fields.ts";
import { invalidValue } from "./refusals.ts";
import { responseFormatField, toJsonSchema } from "./response-format.ts";
import {
  checkModel,
  type GenerationSettings,
  type RequestLimits,
  samplingFields,
  toSettings,
} from "./sampling-fields.ts";
import { refuseGrammar, toolFields, toTools } from "./tools.ts";
import { impossible, refuseUnsupported } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type ChatRequest = {
  readonly prompt: ChatPrompt;
  readonly settings: GenerationSettings;
  /** The log-probabilities are to have llama-server's shape (n_probs). */
  readonly nativeLogprobs: boolean;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
  /** Fields that are ignored too where the template lacks something. */
  readonly needs: readonly TemplateNeed[];
};

export const schema = z.object({
  messages: messagesField,
  ...samplingFields(1),
  ...toolFields,
  response_format: responseFormatField.optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: integer(0, 20).optional(),
  ...reasoningFields,
  ...turnFields,
});

type Fields = z.output<typeof schema>;

const known: ReadonlySet<string> = new Set(Object.keys({ ...schema.shape, ...impossible }));

/** Without a limit of its own an answer may use all the room. */
const routeMaxTokens = -1;

/** @throws Failure 400, or 404 model_not_found */
export function* parseChatRequest(json: JsonObject, limits: RequestLimits): Paced<ChatRequest> {
  const body = withoutNulls(json);
  refuseUnsupported(body, impossible);
  const fields = validate(schema, body);
  yield;
  checkModel(fields.model, limits);
  const messages = toChatMessages(fields.messages);
  yield;
  const settings = toSettings(fields, limits, routeMaxTokens);
  yield;
  const reasoning = toReasoning(fields);
  const tools = yield* toTools(fields);
  const { grammar } = settings;
  const jsonSchema = toJsonSchema({ ...fields, jsonSchema: settings.jsonSchema, grammar });
  refuseGrammar(grammar, tools.prompt);
  const { logprobs, nativeLogprobs } = logprobsOf(fields);
  return {
    prompt: {
      messages,
      ...tools.prompt,
      ...(jsonSchema && { jsonSchema, schemaParam: fields.json_schema ? "json_schema" : "response_format" }),
      ...(grammar !== undefined && { grammar }),
      ...reasoning.prompt,
      ...toTurn(fields, messages, tools.prompt.toolChoice === "required"),
    },
    settings: {
      ...settings,
      ...(logprobs !== undefined && { logprobs }),
      reasoning: { reasoningBudget: reasoning.budget, reasoningBudgetMessage: reasoning.budgetMessage },
    },
    nativeLogprobs,
    ignored: [
      ...ignoredFields(body, known),
      ...tools.ignored,
      ...(logprobs !== undefined && fields.n_probs && !nativeLogprobs ? ["n_probs"] : []),
    ],
    needs: reasoning.needs,
  };
}

function logprobsOf({ logprobs, top_logprobs, n_probs }: Fields): { logprobs?: number; nativeLogprobs: boolean } {
  if (top_logprobs !== undefined && !logprobs) throw invalidValue("top_logprobs", "it needs 'logprobs': true");
  if (logprobs) return { logprobs: top_logprobs ?? 0, nativeLogprobs: false };
  return n_probs ? { logprobs: n_probs, nativeLogprobs: true } : { nativeLogprobs: false };
}
