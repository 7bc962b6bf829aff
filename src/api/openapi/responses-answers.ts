// Schemas of the `response` object and of the events it is streamed in (API.md section 11).
import { z } from "zod";
import { promptProgress, timings, tokenLogprob } from "./openai-answers.ts";

const count = z.int().min(0);
const status = z.enum(["in_progress", "completed", "incomplete"]);

const outputText = z.object({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(tokenLogprob),
});

const reasoningText = z.object({ type: z.literal("reasoning_text"), text: z.string() });

const item = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("message"),
    id: z.string(),
    role: z.literal("assistant"),
    status,
    content: z.array(outputText),
  }),
  z.object({
    type: z.literal("reasoning"),
    id: z.string(),
    summary: z.array(z.never()),
    content: z.array(reasoningText),
    encrypted_content: z.null(),
    status,
  }),
  z.object({
    type: z.literal("function_call"),
    id: z.string(),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    status,
  }),
]);

const responseFields = {
  id: z.string(),
  object: z.literal("response"),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
  background: z.literal(false),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  model: z.string(),
  output: z.array(item),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.null(),
  reasoning: z.object({ effort: z.string().nullable(), summary: z.null() }),
  store: z.literal(false),
  temperature: z.number(),
  text: z.looseObject({}),
  tool_choice: z.union([z.string(), z.looseObject({ type: z.string() })]),
  tools: z.array(z.looseObject({})),
  top_p: z.number(),
  truncation: z.literal("disabled"),
  usage: z
    .object({
      input_tokens: count,
      input_tokens_details: z.object({ cached_tokens: count }),
      output_tokens: count,
      output_tokens_details: z.object({ reasoning_tokens: count }),
      total_tokens: count,
    })
    .nullable(),
};

/** Only on request: how long it took, and the prompt as the template wrote it. */
const measured = { timings: timings.optional(), __verbose: z.looseObject({ prompt: z.string() }).optional() };

export const response = z.object({ ...responseFields, ...measured });

const event = <Name extends string, Shape extends z.ZodRawShape>(type: Name, shape: Shape) =>
  z.object({ type: z.literal(type), sequence_number: count, ...shape });

const inResponse = { response: z.object(responseFields) };
const place = { item_id: z.string(), output_index: count };
const textPlace = { ...place, content_index: z.literal(0) };
const inItem = { output_index: count, item };
const inPart = { ...textPlace, part: z.union([outputText, reasoningText]) };
const withLogprobs = { ...textPlace, logprobs: z.array(tokenLogprob) };
const delta = { delta: z.string(), timings: timings.optional() };

export const responseEvent = z.discriminatedUnion("type", [
  event("response.created", inResponse),
  event("response.in_progress", { ...inResponse, prompt_progress: promptProgress.optional() }),
  event("response.output_item.added", inItem),
  event("response.content_part.added", inPart),
  event("response.output_text.delta", { ...withLogprobs, ...delta }),
  event("response.output_text.done", { ...withLogprobs, text: z.string() }),
  event("response.reasoning_text.delta", { ...textPlace, ...delta }),
  event("response.reasoning_text.done", { ...textPlace, text: z.string() }),
  event("response.function_call_arguments.delta", { ...place, ...delta }),
  event("response.function_call_arguments.done", { ...place, name: z.string(), arguments: z.string() }),
  event("response.content_part.done", inPart),
  event("response.output_item.done", inItem),
  event("response.completed", { ...inResponse, ...measured }),
  event("response.incomplete", { ...inResponse, ...measured }),
  event("error", {
    code: z.string(),
    message: z.string(),
    param: z.string().nullable(),
    error: z.looseObject({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
    }),
  }),
  event("response.failed", inResponse),
  event("keepalive", {}),
]);
