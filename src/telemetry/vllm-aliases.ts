// METRICS_VLLM_ALIASES: our series once more under the names that dashboards for vLLM know. Copies values, measures nothing.
import { type Counter, type Gauge, type Histogram, type Metric, Registry } from "prom-client";
import type { EngineMetrics } from "./engine-metrics.ts";
import type { TokenHistogram } from "./token-histogram.ts";

type Original = Counter | Gauge | Histogram | TokenHistogram;
type Values = Awaited<ReturnType<Histogram["get"]>>;

/** Ours -> theirs. The queries of a prefix cache are the tokens looked up in it, its hits those it had. */
const names: readonly (readonly [keyof EngineMetrics, string])[] = [
  ["running", "num_requests_running"],
  ["waiting", "num_requests_waiting"],
  ["kvCacheUsage", "kv_cache_usage_perc"],
  ["promptTokens", "prefix_cache_queries_total"],
  ["cachedTokens", "prefix_cache_hits_total"],
  ["promptTokens", "prompt_tokens_total"],
  ["generatedTokens", "generation_tokens_total"],
  ["finished", "request_success_total"],
  ["firstToken", "time_to_first_token_seconds"],
  ["tokenGap", "inter_token_latency_seconds"],
  ["latency", "e2e_request_latency_seconds"],
  ["queueTime", "request_queue_time_seconds"],
  ["prefillTime", "request_prefill_time_seconds"],
  ["decodeTime", "request_decode_time_seconds"],
];

/** @param modelName the label model_name at the time of a reading */
export function vllmAliases(metrics: EngineMetrics, modelName: () => string): Registry {
  const registry = new Registry();
  for (const [ours, theirs] of names) registry.registerMetric(alias(metrics[ours], `vllm:${theirs}`, modelName));
  return registry;
}

/** All that a registry asks of a metric is its name and its values. */
function alias(original: Original, name: string, modelName: () => string): Metric {
  const get = async () => {
    const values = (await original.get()) as Values;
    return { ...values, name, values: values.values.map((value) => renamed(value, values.name, name, modelName())) };
  };
  return { name, get } as unknown as Metric;
}

function renamed(value: Values["values"][number], from: string, to: string, modelName: string) {
  const { reason, ...labels } = value.labels as Record<string, string | number>;
  return {
    ...value,
    ...(value.metricName && { metricName: `${to}${value.metricName.slice(from.length)}` }),
    labels: { model_name: modelName, ...labels, ...(reason !== undefined && { finished_reason: reason }) },
  };
}
