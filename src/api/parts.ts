// What createApp() and every handler are given. Tests replace any of it: the engine by a script, keys by a list.
import type { Gate } from "../admission/gate.ts";
import type { Quota } from "../admission/quota.ts";
import type { Config } from "../config.ts";
import type { Engine } from "../engine/engine.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { AccessSink } from "../telemetry/access-file.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";

export type Parts = {
  readonly config: Config;
  readonly log: Logger;
  /** Where every call is counted. */
  readonly metrics: Metrics;
  /** Gets a record of every API call that is over. */
  readonly accessLog: AccessSink;
  /** Holds the server's state (loading, ready, draining, error), the load progress and the request counts. */
  readonly heartbeat: Heartbeat;
  readonly keys: KeyRing;
  readonly quota: Quota;
  /** The queue; it tells the heartbeat how many requests run and wait. */
  readonly gate: Gate;
  /** The engine, once state ready was reached; undefined while loading. The state gate keeps handlers from seeing undefined. */
  readonly engine: () => Engine | undefined;
  /** Aborted, with a Failure as its reason, when DRAIN_TIMEOUT is over or the engine is lost: every call still open ends with it. */
  readonly cut: AbortSignal;
};
