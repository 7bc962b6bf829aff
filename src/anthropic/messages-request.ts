// The body of POST /v1/messages or /v1/messages/count_tokens -> a valid request, or the Failure that names the field (API.md
// section 12).
import { z } from "zod";
import type { ChatPrompt } from "../engine/engine.ts";
import { bytes, integer } from "../openai/fields.ts";
import { ignoredFields } from "../openai/ignored-parameters.ts";
import type { Paced } from "../openai/paced.ts";
import type { TemplateNeed } from "../openai/reasoning-fields.ts";
import { invalidValue, missing } from "../openai/refusals.ts";
import {
  type GenerationSettings,
  metadataOf,
  type RequestLimits,
  samplingFields,
  toSettings,
} from "../openai/sampling-fields.ts";
import { impossible, refuseUnsupported } from "../openai/unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "../openai/validate.ts";
import { textContentField } from "./blocks.ts";
import { messagesField, toConversation } from "./conversation.ts";
import { outputConfigField, toOutputForm } from "./output-format.ts";
import { toSystemPrompt } from "./system.ts";
import { reasoningFields, thinkingField, toThinking } from "./thinking.ts";
import { toolChoiceField, toolsField, toTools } from "./tools.ts";

export type MessagesRequest = {
  readonly prompt: ChatPrompt;
  readonly settings: GenerationSettings;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
  /** Fields that are ignored too where the template lacks something. */
  readonly needs: readonly TemplateNeed[];
};

const { stop: _, stream_options: __, metadata: ___, ...shared } = samplingFields(0);

/** A limit of -1 does not exist here. */
const tokenLimit = integer(0, 2 ** 31 - 1).optional();

export const messagesSchema = z.object({
  messages: messagesField,
  system: textContentField.optional(),
  tools: toolsField.optional(),
  tool_choice: toolChoiceField.optional(),
  thinking: thinkingField.optional(),
  output_config: outputConfigField.optional(),
  stop_sequences: z.union([bytes(1, 256), z.array(bytes(1, 256)).max(16)]).optional(),
  metadata: metadataOf(z.string().max(512).nullable()).optional(),
  ...shared,
  max_tokens: tokenLimit,
  max_completion_tokens: tokenLimit,
  n_predict: tokenLimit,
  ...reasoningFields,
});

type Fields = z.output<typeof messagesSchema>;

const known = new Set(Object.keys({ ...messagesSchema.shape, ...impossible }));

/** They are checked, but a message has no place for what they ask for. */
const withoutPlace = {
  n_probs: undefined,
  timings_per_token: undefined,
  verbose: undefined,
  return_progress: undefined,
};
for (const name of Object.keys(withoutPlace)) known.delete(name);

/** @throws Failure 400, or 404 model_not_found */
export function parseMessagesRequest(json: JsonObject, limits: RequestLimits): Paced<MessagesRequest> {
  return parse(json, limits, true);
}

/** The same without a token limit. @throws Failure 400, or 404 model_not_found */
export function parseCountRequest(json: JsonObject, limits: RequestLimits): Paced<MessagesRequest> {
  return parse(json, limits, false);
}

function* parse(json: JsonObject, limits: RequestLimits, generates: boolean): Paced<MessagesRequest> {
  const body = withoutNulls(json);
  refuseUnsupported(body, impossible);
  const fields = validate(messagesSchema, body);
  yield;
  if (generates && !hasTokenLimit(fields)) throw missing("max_tokens");
  const settings = toSettings(
    { ...fields, ...withoutPlace, stop: fields.stop_sequences, metadata: undefined },
    { ...limits, maxChoices: 1 },
    0,
  );
  const thinking = toThinking(fields, generates ? settings.maxTokens : undefined);
  const { messages, continues } = toConversation(fields.messages, toSystemPrompt(fields.system ?? ""));
  yield;
  const tools = yield* toTools(fields.tools ?? [], fields.tool_choice);
  if (continues && tools.prompt.toolChoice === "required") {
    throw invalidValue(
      "tool_choice",
      "a call cannot be forced in an answer that goes on with a final assistant message",
    );
  }
  const form = toOutputForm(fields, settings, tools.prompt);
  return {
    prompt: {
      messages,
      ...tools.prompt,
      ...thinking.prompt,
      ...form,
      ...(settings.grammar !== undefined && { grammar: settings.grammar }),
      ...(continues && { continueFinalMessage: true }),
    },
    settings: { ...settings, ...thinking.settings },
    ignored: [...ignoredFields(body, known), ...tools.ignored],
    needs: thinking.needs,
  };
}

const hasTokenLimit = ({ max_tokens, max_completion_tokens, n_predict }: Fields): boolean =>
  (max_tokens ?? max_completion_tokens ?? n_predict) !== undefined;
