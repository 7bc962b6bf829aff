// Schemas of what llama-server's own paths and the probes answer (API.md section 13, CONTRACT.md sections 7 and 8).
import { z } from "zod";
import { promptProgress, timings } from "./openai-answers.ts";

const count = z.int().min(0);

export const tokens = z.object({
  tokens: z.union([
    z.array(count),
    z.array(z.object({ id: count, piece: z.union([z.string(), z.array(z.int().min(0).max(255))]) })),
  ]),
});

export const content = z.object({ content: z.string() });
export const prompt = z.object({ prompt: z.string() });

export const infill = z.object({
  index: count,
  content: z.string(),
  tokens: z.array(count),
  id_slot: z.int(),
  stop: z.literal(true),
  model: z.string(),
  tokens_predicted: count,
  tokens_evaluated: count,
  generation_settings: z.looseObject({}),
  prompt: z.string(),
  has_new_line: z.boolean(),
  truncated: z.literal(false),
  stop_type: z.enum(["none", "eos", "limit", "word"]),
  stopping_word: z.string(),
  tokens_cached: count,
  timings,
  completion_probabilities: z.array(z.looseObject({})).optional(),
});

const infillPiece = z.object({
  index: count,
  content: z.string(),
  tokens: z.array(count),
  stop: z.literal(false),
  id_slot: z.int(),
  tokens_predicted: count,
  tokens_evaluated: count,
  timings: timings.optional(),
  prompt_progress: promptProgress.optional(),
  completion_probabilities: z.array(z.looseObject({})).optional(),
});

export const infillEvent = z.union([
  infillPiece,
  infill,
  z.object({ error: z.looseObject({ message: z.string(), code: z.string() }) }),
]);

export const props = z.object({
  default_generation_settings: z.object({ params: z.looseObject({}), n_ctx: count }),
  total_slots: count,
  model_alias: z.string(),
  model_ftype: z.string(),
  modalities: z.object({ vision: z.literal(false), audio: z.literal(false), video: z.literal(false) }),
  chat_template: z.string(),
  chat_template_caps: z.record(z.string(), z.boolean()),
  bos_token: z.string(),
  eos_token: z.string(),
  build_info: z.string(),
});

export const slots = z.array(
  z.object({
    id: count,
    n_ctx: count,
    is_processing: z.boolean(),
    state: z.enum(["idle", "prefill", "decode"]),
    key_id: z.string().nullable(),
    request_id: z.string().nullable(),
    age_ms: z.number(),
    n_prompt_tokens: count,
    n_prompt_tokens_processed: count,
    n_prompt_tokens_cache: count,
    n_decoded: count,
    n_remain: count,
  }),
);

export const health = z.object({
  status: z.enum(["ok", "loading", "draining", "error"]),
  code: z.union([z.literal(200), z.literal(503)]),
  backend: z.object({ status: z.string(), load_progress: z.number().min(0).max(1).optional() }),
  gateway: z.object({ status: z.literal("ok"), metrics: z.record(z.string(), z.number()) }),
  queue: z.object({ max_concurrent: count, max_queue_size: count, active: count, waiting: count }),
  authentication: z.object({ enabled: z.boolean() }),
});

export const metrics = z.object({ gateway: z.looseObject({}), engine: z.looseObject({}) });
export const reload = z.object({ status: z.literal("ok"), keys_loaded: count });
export const openapi = z.looseObject({ openapi: z.literal("3.1.0") });
