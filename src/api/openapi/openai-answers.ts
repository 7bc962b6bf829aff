// Schemas of what the chat, completion, embedding and model routes answer (API.md sections 6 to 9 and 13). For the OpenAPI document
// and its tests; no answer is checked against them while it is served.
import { z } from "zod";

const count = z.int().min(0);

export const usage = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({ cached_tokens: count }),
  completion_tokens_details: z.object({ reasoning_tokens: count }),
});

const byteList = z.array(z.int().min(0).max(255));

const candidate = z.object({ id: count.optional(), token: z.string(), logprob: z.number(), bytes: byteList });

export const tokenLogprob = candidate.extend({ top_logprobs: z.array(candidate) });

const chatLogprobs = z.object({ content: z.array(tokenLogprob), refusal: z.null().optional() }).nullable();

const legacyLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullable(),
  text_offset: z.array(count),
});

/** The second shape is llama-server's, for n_probs. */
const completionLogprobs = z.union([legacyLogprobs, z.object({ content: z.array(tokenLogprob) })]).nullable();

export const timings = z.object({
  cache_n: count,
  prompt_n: count,
  prompt_ms: z.number(),
  prompt_per_token_ms: z.number(),
  prompt_per_second: z.number(),
  predicted_n: count,
  predicted_ms: z.number(),
  predicted_per_token_ms: z.number(),
  predicted_per_second: z.number(),
});

export const promptProgress = z.object({ total: count, cache: count, processed: count, time_ms: z.number() });

const onRequest = { timings: timings.optional(), __verbose: z.looseObject({ prompt: z.string() }).optional() };

const head = (object: string) => ({
  id: z.string(),
  object: z.literal(object),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
});

const toolCall = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
});

const reasoning = { reasoning_content: z.string().optional(), reasoning: z.string().optional() };

export const chatCompletion = z.object({
  ...head("chat.completion"),
  choices: z.array(
    z.object({
      index: count,
      message: z.object({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        refusal: z.null(),
        ...reasoning,
        tool_calls: z.array(toolCall).min(1).optional(),
      }),
      logprobs: chatLogprobs,
      finish_reason: z.enum(["stop", "length", "tool_calls"]),
    }),
  ),
  usage,
  ...onRequest,
});

const toolCallDelta = z.object({
  index: count,
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }),
});

export const failureEvent = z.object({
  error: z.looseObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
  }),
});

export const chatChunk = z.union([
  z.object({
    ...head("chat.completion.chunk"),
    choices: z
      .array(
        z.object({
          index: count,
          delta: z.object({
            role: z.literal("assistant").optional(),
            content: z.string().optional(),
            ...reasoning,
            tool_calls: z.array(toolCallDelta).min(1).optional(),
          }),
          logprobs: chatLogprobs,
          finish_reason: z.enum(["stop", "length", "tool_calls"]).nullable(),
        }),
      )
      .max(1),
    usage: usage.nullable().optional(),
    prompt_progress: promptProgress.optional(),
    ...onRequest,
  }),
  failureEvent,
]);

const completionOf = (finishReason: z.ZodType, usageField: z.ZodType) =>
  z.object({
    ...head("text_completion"),
    choices: z.array(
      z.object({ index: count, text: z.string(), logprobs: completionLogprobs, finish_reason: finishReason }),
    ),
    usage: usageField,
    prompt_progress: promptProgress.optional(),
    ...onRequest,
  });

const completionFinish = z.enum(["stop", "length"]);

export const textCompletion = completionOf(completionFinish, usage);

export const textCompletionChunk = z.union([
  completionOf(completionFinish.nullable(), usage.nullable().optional()),
  failureEvent,
]);

const promptUsage = z.object({ prompt_tokens: count, total_tokens: count });

export const embeddings = z.object({
  object: z.literal("list"),
  model: z.string(),
  data: z.array(
    z.object({
      object: z.literal("embedding"),
      index: count,
      embedding: z.union([z.array(z.number()), z.string().meta({ contentEncoding: "base64" })]),
    }),
  ),
  usage: promptUsage,
});

export const ranking = z.union([
  z.object({
    object: z.literal("list"),
    model: z.string(),
    results: z.array(
      z.object({
        index: count,
        relevance_score: z.number(),
        document: z.object({ text: z.string() }).optional(),
      }),
    ),
    usage: promptUsage,
  }),
  z.array(z.object({ index: count, score: z.number(), text: z.string().optional() })),
]);

export const model = z.object({
  id: z.string(),
  object: z.literal("model"),
  type: z.literal("model"),
  created: z.int(),
  created_at: z.iso.datetime(),
  owned_by: z.literal("local"),
  display_name: z.string(),
  max_input_tokens: count,
  max_model_len: count,
  meta: z.object({
    vocab_type: z.int(),
    n_vocab: count,
    n_ctx: count,
    n_ctx_train: count,
    n_embd: count,
    n_params: count,
    size: count,
    ftype: z.string(),
  }),
});

export const models = z.object({
  object: z.literal("list"),
  data: z.array(model),
  has_more: z.literal(false),
  first_id: z.string(),
  last_id: z.string(),
});

export const inputTokens = z.object({ object: z.literal("response.input_tokens"), input_tokens: count });
