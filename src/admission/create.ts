// Builds what lets calls in: quotas and the queue, as the configuration has them.
import type { Config } from "../config.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import { Gate } from "./gate.ts";
import { Quota } from "./quota.ts";
import { BottleneckStore } from "./quota-store.ts";
import type { RedisLink } from "./redis.ts";

export type AdmissionOptions = {
  readonly config: Config;
  readonly log: Logger;
  /** Is told how many requests run and wait. */
  readonly heartbeat: Heartbeat;
  /** How many requests may run at once; 0 while there is no engine. */
  readonly places: () => number;
  /** Shares the quotas with other replicas. */
  readonly redis?: RedisLink | undefined;
};

export type AdmissionParts = {
  readonly quota: Quota;
  readonly gate: Gate;
  /** Ends the quotas' timers and connections. */
  readonly close: () => Promise<void>;
};

export function createAdmission({ config, log, heartbeat, places, redis }: AdmissionOptions): AdmissionParts {
  const store = new BottleneckStore({ redis, log });
  const onChange = (active: number, waiting: number) => heartbeat.setRequests(active, waiting);
  return { quota: new Quota(store), gate: new Gate({ config, places, onChange }), close: () => store.close() };
}
