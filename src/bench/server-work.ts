// What answers cost the server itself, from its own /metrics: read before and after a load. Servers other than ours do not tell.
import type { Target } from "./http-client.ts";

/** Totals since the server's start. */
type Totals = {
  readonly tokens: number;
  readonly busySeconds: number;
  readonly cpuSeconds: number;
  readonly steps: number;
  readonly passes: number;
};

type Reading = Totals & { readonly lagP99: number; readonly rssBytes: number };

export type ServerWork = {
  /** Microseconds of CPU time of the main thread for each generated token; null where the server's system does not tell. */
  readonly main_thread_cpu_us_per_token: number | null;
  /** The same with the time in which it waited for a processor. */
  readonly main_thread_us_per_token: number;
  /** Compute passes over decoding sequences for each step; 0 when nothing was decoded. */
  readonly passes_per_step: number;
  /** Milliseconds that work waited for the main thread, 99th percentile over the last seconds of the load. */
  readonly event_loop_lag_p99: number;
  /** Bytes by which the process grew in RAM, for each request; what is collected later counts, too. */
  readonly rss_bytes_per_request: number;
};

/** Undefined for a server that does not tell: no such route, or other metrics. */
export async function readServer({ url, apiKey }: Target): Promise<Reading | undefined> {
  const headers = { accept: "application/json", ...(apiKey && { authorization: `Bearer ${apiKey}` }) };
  const response = await fetch(new URL("metrics", url), { headers }).catch(() => undefined);
  if (!response?.ok || !response.headers.get("content-type")?.startsWith("application/json")) {
    await response?.body?.cancel();
    return undefined;
  }
  const { engine } = (await response.json()) as { engine?: Record<string, number | Record<string, number>> };
  const number = (name: string) => Number(engine?.[name] ?? Number.NaN);
  const lag = engine?.event_loop_lag_seconds;
  const reading = {
    tokens: number("generation_tokens_total"),
    busySeconds: number("main_thread_busy_seconds_total"),
    cpuSeconds: number("main_thread_cpu_seconds_total"),
    steps: number("decode_steps_total"),
    passes: number("decode_passes_total"),
    rssBytes: number("process_resident_memory_bytes"),
    lagP99: typeof lag === "object" ? Number(lag["0.99"]) : Number.NaN,
  };
  return Object.values(reading).some(Number.isNaN) ? undefined : reading;
}

export function workBetween(
  before: Reading | undefined,
  after: Reading | undefined,
  requests: number,
): ServerWork | undefined {
  if (!before || !after) return undefined;
  const grown = (field: keyof Totals) => after[field] - before[field];
  const perToken = (seconds: number) => (seconds * 1e6) / Math.max(1, grown("tokens"));
  return {
    main_thread_cpu_us_per_token: after.cpuSeconds > 0 ? perToken(grown("cpuSeconds")) : null,
    main_thread_us_per_token: perToken(grown("busySeconds")),
    passes_per_step: grown("passes") / Math.max(1, grown("steps")),
    event_loop_lag_p99: after.lagP99 * 1000,
    rss_bytes_per_request: (after.rssBytes - before.rssBytes) / Math.max(1, requests),
  };
}
