// The body of POST /v1/chat/completions -> a valid request, or the Failure that names the field.
import { z } from "zod";
import type { ChatMessage } from "../engine/engine.ts";
import { messagesField, toChatMessages } from "./chat-messages.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { type GenerationSettings, type RequestLimits, samplingFields, toSettings } from "./sampling-fields.ts";
import { refuseUnsupported, unsupportedFields } from "./unsupported.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type ChatRequest = {
  readonly messages: readonly ChatMessage[];
  readonly settings: GenerationSettings;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

const schema = z.object({ messages: messagesField, ...samplingFields(1) });

const { impossible, notYet } = unsupportedFields.chat;
const known: ReadonlySet<string> = new Set(Object.keys({ ...schema.shape, ...impossible, ...notYet }));

/** Without a limit of its own an answer may use all the room. */
const routeMaxTokens = -1;

/** @throws Failure 400, or 404 model_not_found */
export function parseChatRequest(json: JsonObject, limits: RequestLimits): ChatRequest {
  const body = withoutNulls(json);
  refuseUnsupported(body, unsupportedFields.chat);
  const fields = validate(schema, body);
  const messages = toChatMessages(fields.messages);
  return { messages, settings: toSettings(fields, limits, routeMaxTokens), ignored: ignoredFields(body, known) };
}
