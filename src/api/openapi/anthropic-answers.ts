// Schemas of what the Messages routes answer (API.md section 12).
import { z } from "zod";

const count = z.int().min(0);

const block = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("thinking"), thinking: z.string(), signature: z.string() }),
  z.object({ type: z.literal("tool_use"), id: z.string(), name: z.string(), input: z.looseObject({}) }),
]);

const usage = z.object({
  input_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: z.literal(0),
  output_tokens: count,
  output_tokens_details: z.object({ thinking_tokens: count }).optional(),
});

const stop = {
  stop_reason: z
    .enum(["end_turn", "stop_sequence", "tool_use", "max_tokens", "model_context_window_exceeded"])
    .nullable(),
  stop_sequence: z.string().nullable(),
};

export const message = z.object({
  id: z.string(),
  type: z.literal("message"),
  role: z.literal("assistant"),
  model: z.string(),
  content: z.array(block),
  ...stop,
  usage,
});

const delta = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text_delta"), text: z.string() }),
  z.object({ type: z.literal("thinking_delta"), thinking: z.string() }),
  z.object({ type: z.literal("signature_delta"), signature: z.string() }),
  z.object({ type: z.literal("input_json_delta"), partial_json: z.string() }),
]);

export const messageEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message_start"), message }),
  z.object({ type: z.literal("ping") }),
  z.object({ type: z.literal("content_block_start"), index: count, content_block: block }),
  z.object({ type: z.literal("content_block_delta"), index: count, delta }),
  z.object({ type: z.literal("content_block_stop"), index: count }),
  z.object({ type: z.literal("message_delta"), delta: z.object(stop), usage }),
  z.object({ type: z.literal("message_stop") }),
  z.looseObject({ type: z.literal("error"), error: z.looseObject({ type: z.string(), message: z.string() }) }),
]);

export const tokenCount = z.object({ input_tokens: count });
