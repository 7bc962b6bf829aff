// What GET /metrics tells (CONTRACT.md section 8): takes what calls report while they run, and prints it together with what is read
// at that moment, as JSON or as Prometheus text. Knows no HTTP and no engine.
import { performance } from "node:perf_hooks";
import { type Counter, Registry } from "prom-client";
import { Counters, type GatewayMetrics } from "./counters.ts";
import {
  defineEngineMetrics,
  defineKeyMetrics,
  type FinishReason,
  prefix,
  type RejectionReason,
  type Stage,
} from "./engine-metrics.ts";
import { EventLoopLag } from "./event-loop-lag.ts";
import { GatewayExposition } from "./gateway-metrics.ts";
import { mainThreadCpuSeconds } from "./main-thread.ts";
import { registryJson } from "./registry-json.ts";
import { vllmAliases } from "./vllm-aliases.ts";

export type { FinishReason, RejectionReason, Stage } from "./engine-metrics.ts";

/** Tokens of one answered request. */
export type TokenCounts = {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
};

/** Durations of one answer in milliseconds. */
export type PhaseTimes = { readonly prefillMs: number; readonly decodeMs: number };

/** What is known only by looking: taken when somebody asks for the metrics. */
export type Readings = {
  readonly gateway: GatewayMetrics;
  readonly running: number;
  readonly waiting: number;
  /** 0 to 1. */
  readonly kvCacheUsage: number;
  /** Since the start. */
  readonly speculation: { readonly draftedTokens: number; readonly acceptedTokens: number };
  readonly gpuMemory: { readonly usedBytes: number; readonly totalBytes: number };
  readonly decodeWork: { readonly steps: number; readonly passes: number };
  readonly modelLoaded: boolean;
  readonly modelName: string;
  readonly contextTokens: number;
  readonly authKeys: number;
  readonly quotaStoreUp: boolean;
  readonly build: {
    readonly version: string;
    readonly gitSha: string;
    readonly llamaCpp: string;
    readonly gpu: string;
  };
};

/** What is left of each key's quota. */
export type KeyReadings = readonly {
  readonly keyId: string;
  readonly kind: "requests" | "tokens";
  readonly remaining: number;
}[];

export class Metrics {
  readonly counters = new Counters();
  readonly #engineRegistry = new Registry();
  readonly #keyRegistry = new Registry();
  readonly #engine = defineEngineMetrics(this.#engineRegistry);
  readonly #keys = defineKeyMetrics(this.#keyRegistry);
  readonly #gateway = new GatewayExposition();
  readonly #aliases: Registry | undefined;
  #modelName = "";
  /** Measured from the first time somebody asks. */
  #loopLag: EventLoopLag | undefined;

  constructor(options: { readonly vllmAliases: boolean } = { vllmAliases: false }) {
    if (options.vllmAliases) this.#aliases = vllmAliases(this.#engine, () => this.#modelName);
  }

  /** @param route a path of the route table, or another fixed word */
  answered(route: string, status: number): void {
    this.#engine.responses.inc({ route, status });
  }
  rejected(reason: RejectionReason): void {
    this.#engine.rejections.inc({ reason });
  }
  cancelled(stage: Stage): void {
    this.#engine.cancellations.inc({ stage });
  }
  firstToken(seconds: number, stream: boolean): void {
    this.#engine.firstToken.observe({ stream: String(stream) }, seconds);
  }
  tokenGap(seconds: number): void {
    this.#engine.tokenGap.observe(seconds);
  }
  leftQueue(waitSeconds: number): void {
    this.#engine.queueTime.observe(waitSeconds);
  }
  /** One answer of a request is complete. */
  answerGenerated({ prefillMs, decodeMs }: PhaseTimes): void {
    this.#engine.prefillTime.observe(prefillMs / 1000);
    this.#engine.decodeTime.observe(decodeMs / 1000);
  }
  tokens({ promptTokens, cachedTokens, completionTokens }: TokenCounts): void {
    this.#engine.promptTokens.inc(promptTokens);
    this.#engine.cachedTokens.inc(cachedTokens);
    this.#engine.generatedTokens.inc(completionTokens);
  }
  /** An engine request is over. @param seconds since its arrival; told only of those that were answered */
  finished(reason: FinishReason, seconds?: number): void {
    this.#engine.finished.inc({ reason });
    if (seconds !== undefined) this.#engine.latency.observe(seconds);
  }
  keyRequest(keyId: string): void {
    this.#keys.requests.inc({ key_id: keyId });
  }
  keyTokens(keyId: string, { promptTokens, cachedTokens, completionTokens }: TokenCounts): void {
    const kinds = { prompt: promptTokens, cached: cachedTokens, generated: completionTokens };
    for (const [kind, count] of Object.entries(kinds)) this.#keys.tokens.inc({ key_id: keyId, kind }, count);
  }

  /** Prometheus text, version 0.0.4. @param keys absent: nothing about single keys is told */
  async text(readings: Readings, keys?: KeyReadings): Promise<string> {
    this.#take(readings, keys);
    const parts = [this.#gateway.text(readings.gateway), this.#engineRegistry.metrics()];
    if (keys) parts.push(this.#keyRegistry.metrics());
    if (this.#aliases) parts.push(this.#aliases.metrics());
    return (await Promise.all(parts)).join("\n");
  }

  /** As text(), for JSON. */
  async json(readings: Readings, keys?: KeyReadings): Promise<object> {
    this.#take(readings, keys);
    const engine = registryJson(this.#engineRegistry, prefix);
    const perKey = keys ? registryJson(this.#keyRegistry, prefix) : {};
    return { gateway: readings.gateway, engine: { ...(await engine), ...(await perKey) } };
  }

  #readLoopLag(): Record<string, number> {
    this.#loopLag ??= new EventLoopLag();
    return this.#loopLag.read();
  }

  #take(readings: Readings, keys: KeyReadings = []): void {
    const { build, gpuMemory } = readings;
    const engine = this.#engine;
    this.#modelName = readings.modelName;
    engine.running.set(readings.running);
    engine.waiting.set(readings.waiting);
    engine.kvCacheUsage.set(readings.kvCacheUsage);
    setTotal(engine.draftedTokens, readings.speculation.draftedTokens);
    setTotal(engine.acceptedTokens, readings.speculation.acceptedTokens);
    for (const [quantile, seconds] of Object.entries(this.#readLoopLag())) engine.loopLag.set({ quantile }, seconds);
    engine.residentMemory.set(process.memoryUsage.rss());
    engine.vramUsed.set(gpuMemory.usedBytes);
    engine.vramTotal.set(gpuMemory.totalBytes);
    setTotal(engine.decodeSteps, readings.decodeWork.steps);
    setTotal(engine.decodePasses, readings.decodeWork.passes);
    setTotal(engine.mainThreadBusy, performance.eventLoopUtilization().active / 1000);
    setTotal(engine.mainThreadCpu, mainThreadCpuSeconds() ?? 0);
    engine.modelLoaded.set(readings.modelLoaded ? 1 : 0);
    engine.contextTokens.set(readings.contextTokens);
    engine.authKeys.set(readings.authKeys);
    engine.quotaStoreUp.set(readings.quotaStoreUp ? 1 : 0);
    engine.buildInfo.reset();
    engine.buildInfo.set(
      { version: build.version, git_sha: build.gitSha, llama_cpp: build.llamaCpp, gpu: build.gpu },
      1,
    );
    this.#keys.quotaRemaining.reset();
    for (const { keyId, kind, remaining } of keys) this.#keys.quotaRemaining.set({ key_id: keyId, kind }, remaining);
  }
}

/** A counter whose total somebody else keeps. */
function setTotal(counter: Counter, total: number): void {
  counter.reset();
  counter.inc(total);
}
