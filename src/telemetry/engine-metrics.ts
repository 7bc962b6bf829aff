// The metrics under our own prefix (CONTRACT.md section 8.2): what exists, its help text, its labels and buckets. Records nothing
// by itself. Every label has a bounded set of values.
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { TokenHistogram } from "./token-histogram.ts";

export const prefix = "llama_gguf_";

/** Why a request was over. */
export const finishReasons = ["stop", "length", "tool_calls", "error", "timeout", "cancelled"] as const;
export type FinishReason = (typeof finishReasons)[number];

/** Where a request was when its client left. */
export const stages = ["queued", "prefill", "decode"] as const;
export type Stage = (typeof stages)[number];

export const rejectionReasons = [
  "rpm",
  "tpm",
  "concurrency",
  "queue_full",
  "queued_tokens",
  "queue_timeout",
  "loading",
  "draining",
] as const;
export type RejectionReason = (typeof rejectionReasons)[number];

/** Seconds: from 1 ms to 2560 s. */
const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const tokenGapBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40, 80,
];
const requestBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920,
  7680,
];

export type EngineMetrics = ReturnType<typeof defineEngineMetrics>;
export type KeyMetrics = ReturnType<typeof defineKeyMetrics>;

type Definition = {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  registers: Registry[];
};

function definition(registry: Registry, name: string, help: string, labelNames: readonly string[] = []): Definition {
  return { name: `${prefix}${name}`, help, labelNames: [...labelNames], registers: [registry] };
}

/** A counter that shows 0 for each of these label values from the start. */
function counterOf(definition: Definition, values: readonly string[]): Counter {
  const counter = new Counter(definition);
  for (const value of values) counter.inc({ [definition.labelNames[0]!]: value }, 0);
  return counter;
}

/** Of the answers that are streams, and of those that are not. */
function startedAtZero(firstToken: Histogram): Histogram {
  for (const stream of ["true", "false"]) firstToken.zero({ stream });
  return firstToken;
}

export function defineEngineMetrics(registry: Registry) {
  const define = (name: string, help: string, labels?: readonly string[]) => definition(registry, name, help, labels);
  const histogram = (name: string, help: string, buckets: number[], labels?: readonly string[]) =>
    new Histogram({ ...define(name, help, labels), buckets });
  const counter = (name: string, help: string) => new Counter(define(name, help));
  const gauge = (name: string, help: string, labels?: readonly string[]) => new Gauge(define(name, help, labels));
  return {
    firstToken: startedAtZero(
      histogram("time_to_first_token_seconds", "From a request's arrival to its first token.", firstTokenBuckets, [
        "stream",
      ]),
    ),
    tokenGap: new TokenHistogram({
      ...define("inter_token_latency_seconds", "From one piece of an answer to the next, each usually one token."),
      buckets: tokenGapBuckets,
    }),
    latency: histogram("e2e_request_latency_seconds", "From a request's arrival to its last byte.", requestBuckets),
    queueTime: histogram("request_queue_time_seconds", "Time a request waited for a sequence.", requestBuckets),
    prefillTime: histogram(
      "request_prefill_time_seconds",
      "From the sequence to the first token, of each answer.",
      requestBuckets,
    ),
    decodeTime: histogram(
      "request_decode_time_seconds",
      "From the first token to the last one, of each answer.",
      requestBuckets,
    ),
    promptTokens: counter("prompt_tokens_total", "Prompt tokens, cached ones included."),
    cachedTokens: counter("prompt_tokens_cached_total", "Prompt tokens that were not evaluated again."),
    generatedTokens: counter("generation_tokens_total", "Sampled tokens."),
    draftedTokens: counter("draft_tokens_total", "Tokens guessed before they were sampled (speculative decoding)."),
    acceptedTokens: counter("draft_tokens_accepted_total", "Of those, tokens guessed rightly."),
    finished: counterOf(
      define("requests_finished_total", "Engine requests that are over, by why.", ["reason"]),
      finishReasons,
    ),
    cancellations: counterOf(
      define("cancellations_total", "Engine requests whose client left, by where they were.", ["stage"]),
      stages,
    ),
    responses: new Counter(
      define("http_responses_total", "Answers on PORT, by route and status.", ["route", "status"]),
    ),
    rejections: counterOf(
      define("admission_rejections_total", "Requests that were refused for now, by why.", ["reason"]),
      rejectionReasons,
    ),
    decodeSteps: counter("decode_steps_total", "Steps of the engine that decoded at least one sequence."),
    decodePasses: counter("decode_passes_total", "Compute passes over decoding sequences; one a step is the best."),
    mainThreadBusy: counter("main_thread_busy_seconds_total", "Time in which the main thread was not idle."),
    mainThreadCpu: counter("main_thread_cpu_seconds_total", "Time for which the main thread ran; 0 if not known."),
    running: gauge("requests_running", "Requests that hold a sequence."),
    waiting: gauge("requests_waiting", "Requests that wait for a sequence."),
    kvCacheUsage: gauge("kv_cache_usage_ratio", "Cells of the KV cache in use, of those reserved."),
    loopLag: gauge("event_loop_lag_seconds", "How late the main thread is, over the last seconds.", ["quantile"]),
    residentMemory: gauge("process_resident_memory_bytes", "Memory of the process in RAM."),
    vramUsed: gauge("vram_used_bytes", "Used memory of the GPUs; 0 without one."),
    vramTotal: gauge("vram_total_bytes", "Memory of the GPUs; 0 without one."),
    modelLoaded: gauge("model_loaded", "1 while a model can answer."),
    contextTokens: gauge("context_tokens", "Tokens one request may use."),
    authKeys: gauge("auth_keys", "API keys in force, expired ones included."),
    quotaStoreUp: gauge("quota_store_up", "0 while quotas cannot be shared with other replicas."),
    buildInfo: gauge("build_info", "What is running.", ["version", "git_sha", "llama_cpp", "gpu"]),
  };
}

/** Shown to admins only. */
export function defineKeyMetrics(registry: Registry) {
  const define = (name: string, help: string, labels: readonly string[]) => definition(registry, name, help, labels);
  return {
    requests: new Counter(define("key_requests_total", "Requests of a key that left the queue.", ["key_id"])),
    tokens: new Counter(define("key_tokens_total", "Tokens of a key's requests.", ["key_id", "kind"])),
    quotaRemaining: new Gauge(
      define("key_quota_remaining", "What is left of a key's quota per minute.", ["key_id", "kind"]),
    ),
  };
}
