// The control fields that chat and completions share (API.md section 5): their schema, and the settings they come to once the
// operator's defaults are filled in.
import { randomInt } from "node:crypto";
import { z } from "zod";
import type { Config } from "../config.ts";
import type { Constraint, Sampling } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import { bytes, checked, decimal, integer, members, type Objection } from "./fields.ts";
import { checkSchema } from "./json-schema.ts";
import { type LogitBiasEntry, logitBiasField, toEntries } from "./logit-bias.ts";
import { loraField, resolveScales } from "./lora-field.ts";
import { rareSampling, rareSamplingFields } from "./rare-sampling.ts";
import { clip, invalidValue, missing, outOfRange } from "./refusals.ts";
import type { JsonObject } from "./validate.ts";

/** What the operator and the served model decide about every request. */
export type RequestLimits = {
  readonly config: Pick<
    Config,
    | "defaultTemperature"
    | "defaultTopP"
    | "defaultTopK"
    | "defaultMinP"
    | "defaultRepeatPenalty"
    | "defaultMaxTokens"
    | "seed"
    | "modelStrict"
  >;
  /** The served model's name. */
  readonly modelName: string;
  /** Most choices of one request: the granted MAX_CONCURRENT_REQUESTS. */
  readonly maxChoices: number;
  /** Of the loaded LoRA adapters by id, where a request sets none. */
  readonly loraScales: readonly number[];
};

/** How the answers to a request are generated and sent; everything but its prompts. */
export type GenerationSettings = {
  /** -1 = all the room that the prompt leaves. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
  /** Choice i of a prompt uses seed + i, modulo 2^32. */
  readonly sampling: Omit<Sampling, "logitBias">;
  readonly logitBias: readonly LogitBiasEntry[];
  /** Choices for each prompt. */
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Excludes `jsonSchema`. */
  readonly grammar?: string;
  /** Of the json_schema field, checked: the answer must be valid against it. */
  readonly jsonSchema?: JsonObject;
  /** Alternatives to be told with every token; undefined: no log-probabilities. */
  readonly logprobs?: number;
  /** Of the chat routes: how long the model may think. */
  readonly reasoning?: Pick<Constraint, "reasoningBudget" | "reasoningBudgetMessage">;
  /** Alternatives to be told with every token of the prompt. */
  readonly promptLogprobs?: number;
  /** Milliseconds of generation after which the answer ends with its next line. */
  readonly maxDecodeMs?: number;
  /** End tokens are never sampled. */
  readonly ignoreEnd: boolean;
  /** False: nothing that is cached is used. */
  readonly cachePrompt: boolean;
  /** Of each loaded LoRA adapter, by id. */
  readonly loraScales: readonly number[];
  readonly report: ReportSettings;
};

/** What an answer tells about its making (API.md section 8). */
export type ReportSettings = {
  /** At the answer's end. */
  readonly timings: boolean;
  /** Also on every chunk. */
  readonly timingsPerToken: boolean;
  /** The rendered prompt, and the settings as they took effect. */
  readonly verbose: boolean;
  /** While the prompt is evaluated, in a stream. */
  readonly progress: boolean;
};

const seedRange = 2 ** 32;
const mostTokens = 2 ** 31 - 1;

/** @param text a member */
export const metadataOf = <V extends z.ZodType>(text: V) =>
  checked(members(text, 16), (metadata) => {
    if (Object.keys(metadata).every((name) => name.length <= 64)) return undefined;
    return { kind: "string_above_max_length", rule: "expected names of at most 64 characters" };
  });

/** @param leastTokens the smallest limit besides -1: 0 where evaluating only the prompt makes sense, else 1 */
export function samplingFields(leastTokens: 0 | 1) {
  const tokenLimit = checked(integer(-1, mostTokens), (limit) => {
    if (limit !== 0 || leastTokens === 0) return undefined;
    return { kind: "integer_below_min_value", rule: "expected -1 or a value >= 1, got 0" };
  });
  return {
    model: z.string().max(256).optional(),
    max_tokens: tokenLimit.optional(),
    max_completion_tokens: tokenLimit.optional(),
    n_predict: tokenLimit.optional(),
    temperature: decimal(0, 2).optional(),
    top_p: decimal(0, 1).optional(),
    top_k: integer(-1, 1_000_000).optional(),
    min_p: decimal(0, 1).optional(),
    repeat_last_n: integer(0, 1_000_000).optional(),
    repeat_penalty: decimal(0.01, 10).optional(),
    presence_penalty: decimal(-2, 2).optional(),
    frequency_penalty: decimal(-2, 2).optional(),
    seed: integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER).optional(),
    n: integer(1, Number.MAX_SAFE_INTEGER).optional(),
    n_cmpl: integer(1, Number.MAX_SAFE_INTEGER).optional(),
    stop: z.union([bytes(1, 256), z.array(bytes(1, 256)).max(16)]).optional(),
    logit_bias: logitBiasField.optional(),
    stream: z.boolean().optional(),
    stream_options: z.object({ include_usage: z.boolean().nullish() }).optional(),
    metadata: metadataOf(z.string().max(512)).optional(),
    ...rareSamplingFields,
    grammar: checked(z.string(), grammarObjection).optional(),
    json_schema: z.record(z.string(), z.unknown()).optional(),
    ignore_eos: z.boolean().optional(),
    n_probs: integer(0, 20).optional(),
    cache_prompt: z.boolean().optional(),
    lora: loraField.optional(),
    t_max_predict_ms: integer(-1, 86_400_000).optional(),
    timings_per_token: z.boolean().optional(),
    verbose: z.boolean().optional(),
    return_progress: z.boolean().optional(),
  };
}

const mostGrammarBytes = 65_536;
const mostRepetitions = 2000;

function grammarObjection(grammar: string): Objection | undefined {
  const length = Buffer.byteLength(grammar);
  if (length > mostGrammarBytes) {
    return { kind: "string_above_max_length", rule: `expected at most ${mostGrammarBytes} bytes, got ${length}` };
  }
  // What stands between braces is taken whole: a pattern that could share it out in several ways would take minutes for some texts.
  for (const [, inside] of grammar.matchAll(/\{([^{}]*)\}/g)) {
    const bounds = inside!.split(",").map((bound) => bound.trim());
    if (!bounds.every((bound) => /^\d*$/.test(bound))) continue;
    if (bounds.some((bound) => Number(bound) > mostRepetitions)) return tooOften;
  }
  return undefined;
}

const tooOften: Objection = { kind: "invalid_value", rule: `expected repetitions of at most ${mostRepetitions}` };

export type SamplingFields = z.output<z.ZodObject<ReturnType<typeof samplingFields>>>;

/**
 * @param routeMaxTokens token limit where neither request nor operator sets one
 * @throws Failure 400 or model_not_found
 */
export function toSettings(fields: SamplingFields, limits: RequestLimits, routeMaxTokens: number): GenerationSettings {
  const n = choices(fields, limits.maxChoices);
  checkModel(fields.model, limits);
  if (fields.stream_options && !fields.stream) {
    throw invalidValue("stream_options", "it is only allowed together with 'stream': true");
  }
  const { config } = limits;
  const operatorMaxTokens = config.defaultMaxTokens >= 0 ? config.defaultMaxTokens : routeMaxTokens;
  return {
    maxTokens: fields.n_predict ?? fields.max_completion_tokens ?? fields.max_tokens ?? operatorMaxTokens,
    stop: typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []),
    sampling: {
      temperature: fields.temperature ?? config.defaultTemperature,
      topP: fields.top_p ?? config.defaultTopP,
      topK: fields.top_k ?? config.defaultTopK,
      minP: fields.min_p ?? config.defaultMinP,
      seed: resolveSeed(fields.seed ?? config.seed),
      repeatPenalty: fields.repeat_penalty ?? config.defaultRepeatPenalty,
      repeatLastN: fields.repeat_last_n ?? 64,
      frequencyPenalty: fields.frequency_penalty ?? 0,
      presencePenalty: fields.presence_penalty ?? 0,
      ...rareSampling(fields),
    },
    logitBias: fields.logit_bias ? toEntries(fields.logit_bias) : [],
    n,
    stream: fields.stream ?? false,
    includeUsage: fields.stream_options?.include_usage ?? false,
    ...formOf(fields),
    ...(fields.n_probs && { logprobs: fields.n_probs }),
    ...(fields.t_max_predict_ms && fields.t_max_predict_ms > 0 && { maxDecodeMs: fields.t_max_predict_ms }),
    ignoreEnd: fields.ignore_eos ?? false,
    cachePrompt: fields.cache_prompt ?? true,
    loraScales: resolveScales(fields.lora, limits.loraScales),
    report: {
      timings: Boolean(fields.timings_per_token || fields.verbose),
      timingsPerToken: fields.timings_per_token ?? false,
      verbose: fields.verbose ?? false,
      progress: Boolean(fields.stream && fields.return_progress),
    },
  };
}

/** @throws Failure invalid_json_schema, schema_too_complex, or invalid_value for both at once */
function formOf({ grammar, json_schema }: SamplingFields): Pick<GenerationSettings, "grammar" | "jsonSchema"> {
  if (!json_schema) return grammar === undefined ? {} : { grammar };
  if (grammar !== undefined) throw invalidValue("grammar", "it excludes 'json_schema'");
  return { jsonSchema: checkSchema(json_schema, "json_schema", { strict: true }).schema };
}

/** Used modulo 2^32; -1 = a fresh random one. */
function resolveSeed(seed: number): number {
  return seed === -1 ? randomInt(seedRange) : addToSeed(seed, 0);
}

/** Of one prompt's answer number `choice`. */
export function addToSeed(seed: number, choice: number): number {
  return ((((seed % seedRange) + seedRange) % seedRange) + choice) % seedRange;
}

function choices({ n, n_cmpl }: SamplingFields, most: number): number {
  const asked = n ?? n_cmpl ?? 1;
  if (asked <= most) return asked;
  const name = n === undefined ? "n_cmpl" : "n";
  throw outOfRange("integer_above_max_value", name, `expected a value <= ${most}, got ${asked}`);
}

/** @throws Failure missing_required_parameter or model_not_found, with MODEL_STRICT only */
export function checkModel(
  asked: string | undefined,
  { config, modelName }: { config: Pick<Config, "modelStrict">; modelName: string },
): void {
  if (!config.modelStrict) return;
  if (asked === undefined) throw missing("model");
  if (asked === modelName) return;
  const message = `The model '${clip(asked)}' does not exist; served: '${modelName}'.`;
  throw new Failure("model_not_found", message, { param: "model" });
}
