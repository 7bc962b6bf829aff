// GET /metrics (CONTRACT.md section 8): reads what is known only at this moment, and prints everything as JSON or, for scrapers, as
// Prometheus text. What single keys did is shown to administrators only.
import { build } from "../build.ts";
import type { Engine } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import { readCredential } from "../http/bearer.ts";
import type { KeyReadings, Readings } from "../telemetry/metrics.ts";
import { isAdmin } from "./admin.ts";
import type { Context, Handler } from "./handler.ts";
import type { Parts } from "./parts.ts";

export const metrics: Handler = async (ctx, parts) => {
  const readings = await takeReadings(parts);
  const keys = seesKeys(ctx, parts) ? readKeys(parts) : undefined;
  if (/text\/plain|application\/openmetrics-text/i.test(ctx.headers.accept ?? "")) {
    ctx.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    ctx.body = await parts.metrics.text(readings, keys);
  } else {
    ctx.set("Content-Type", "application/json; charset=utf-8");
    ctx.body = JSON.stringify(await parts.metrics.json(readings, keys), null, 2);
  }
};

async function takeReadings({ config, engine, heartbeat, keys, metrics, quota }: Parts): Promise<Readings> {
  const serving = engine();
  return {
    gateway: metrics.counters.gatewayMetrics(heartbeat),
    running: heartbeat.activeRequests,
    waiting: heartbeat.queuedRequests,
    kvCacheUsage: serving ? kvCacheUsage(serving) : 0,
    gpuMemory: serving ? await serving.gpuMemory() : { usedBytes: 0, totalBytes: 0 },
    decodeWork: serving?.decodeWork() ?? { steps: 0, passes: 0 },
    modelLoaded: serving !== undefined && heartbeat.state !== "error",
    modelName: serving?.model.name ?? config.modelAlias,
    contextTokens: serving?.model.contextTokens ?? 0,
    authKeys: keys.size,
    quotaStoreUp: quota.storeUp,
    build: { ...build, llamaCpp: serving?.backend.llamaCpp ?? "unknown", gpu: serving?.backend.device ?? "unknown" },
  };
}

/** Cells of the KV cache that hold a token, of those reserved. */
function kvCacheUsage(engine: Engine): number {
  const slots = engine.slots();
  const used = slots.map((slot) =>
    slot.state === "idle" ? slot.cachedTokens : slot.promptTokensProcessed + slot.decodedTokens,
  );
  const reserved = Math.max(1, slots.length * engine.model.contextTokens);
  return Math.min(1, used.reduce((sum, tokens) => sum + tokens, 0) / reserved);
}

/** A credential that is not accepted is no reason to refuse: it just shows what everybody sees. */
function seesKeys(ctx: Context, parts: Parts): boolean {
  const { keys } = parts;
  if (!keys.enabled) return false;
  try {
    return isAdmin(keys.authenticate(readCredential(ctx.headers)), parts);
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

function readKeys({ quota }: Parts): KeyReadings {
  return quota.remainders();
}
