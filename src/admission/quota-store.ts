// The limiters behind the quotas: one bottleneck Group for each kind, in memory or in Redis, where all replicas share them. Judges
// and holds units; knows neither windows nor debts, and not what a unit is.
import Bottleneck from "bottleneck";
import type { Limits } from "../keys/key-ring.ts";
import type { Logger } from "../telemetry/log.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Job, Limiter } from "./limiter.ts";
import type { RedisLink } from "./redis.ts";
import { type Hold, windowMs } from "./sliding-window.ts";

export const kinds = ["requests", "tokens", "concurrency"] as const;
export type Kind = (typeof kinds)[number];

export type Claim = {
  readonly kind: Kind;
  readonly keyId: string;
  /** At least 1, at most limitOf(kind, limits). */
  readonly weight: number;
  /** Of the key that claims; they judge this claim against everything held for the key_id. */
  readonly limits: Limits;
};

export function limitOf(kind: Kind, limits: Limits): number {
  const { requestsPerMinute, tokensPerMinute, concurrentRequests } = limits;
  return { requests: requestsPerMinute, tokens: tokensPerMinute, concurrency: concurrentRequests }[kind];
}

/** No hold: there is no room. `total`: what all replicas hold, this claim included; absent where there are no others. */
export type Verdict = { readonly hold?: Hold; readonly total?: number };

export interface QuotaStore {
  /** False while quotas should be shared and cannot be. */
  readonly up: boolean;
  /**
   * Units held for a minute, or until released; of kind concurrency until released. "alone": the store has nothing to say to that,
   * the caller's own count decides.
   */
  take(claim: Claim): Promise<Verdict | "alone">;
  /** Leaves no timer and no connection behind. What other replicas must go on counting stays in Redis. */
  close(): Promise<void>;
}

/**
 * Requests per minute from which a quota in memory is left to the caller's own count. RPM has no "off" but a large number, a job
 * takes 4 kB for its minute and up to 0.3 ms of the main thread, and in memory it holds nothing that its owner has not counted.
 */
const uncountedRpm = 10_000;

/** A job that its owner cannot release any more ends this long after it should have. */
const graceMs = 5000;

/**
 * A limiter starts no job before `nextRequest`, a time of day that each job sets. A clock that is set back, or another replica's that
 * is behind, would wait for it; a negative minTime keeps it in the past, so that only differences of more than an hour matter.
 */
const clockDifferenceMs = 3_600_000;

/** Idle limiters are forgotten; much later than any hold ends. */
const forgetMs = clockDifferenceMs + 5 * windowMs;

export type QuotaStoreOptions = {
  /** Absent: in memory. */
  readonly redis?: RedisLink | undefined;
  readonly log: Logger;
  readonly clock?: Clock;
};

export class BottleneckStore implements QuotaStore {
  readonly #redis: RedisLink | undefined;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #groups: Readonly<Record<Kind, Bottleneck.Group>>;
  readonly #limiters = new Map<Bottleneck, Limiter>();
  readonly #holds = new Set<LimiterHold>();
  #closed = false;

  constructor({ redis, log, clock = systemClock }: QuotaStoreOptions) {
    this.#redis = redis;
    this.#log = log;
    this.#clock = clock;
    const groups = kinds.map((kind) => [kind, this.#createGroup(kind)]);
    this.#groups = Object.fromEntries(groups) as Record<Kind, Bottleneck.Group>;
  }

  get up(): boolean {
    return this.#redis?.up ?? true;
  }

  async take(claim: Claim): Promise<Verdict | "alone"> {
    if (!this.up || this.#closed) return "alone";
    const { kind, keyId, weight, limits } = claim;
    if (!this.#redis && limits.requestsPerMinute > uncountedRpm) return "alone";
    try {
      const limiter = await this.#limiter(kind, keyId);
      const { job, total } = await limiter.take(weight, limitOf(kind, limits), windowMs + graceMs);
      if (!job && !this.up) return "alone";
      return { ...(job && { hold: this.#hold(claim, limiter, job) }), ...(total !== undefined && { total }) };
    } catch (error) {
      this.#fail(error);
      return "alone";
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const hold of this.#holds) if (hold.kind === "concurrency") hold.release();
    if (this.up) await Promise.all(Array.from(this.#limiters.values(), (limiter) => limiter.settled()));
    await this.#redis?.close();
    for (const hold of this.#holds) hold.release();
    await Promise.all(Array.from(this.#limiters.values(), (limiter) => limiter.settled()));
  }

  #createGroup(kind: Kind): Bottleneck.Group {
    const group = new Bottleneck.Group({
      id: `llama-gguf-${kind}`,
      highWater: 0,
      strategy: Bottleneck.strategy.OVERFLOW,
      minTime: -clockDifferenceMs,
      timeout: forgetMs,
      ...(this.#redis && { connection: this.#redis.connection }),
    });
    group.on("created", (limiter) => {
      limiter.on("error", (error) => this.#fail(error));
      if (!this.#redis) decideAtOnce(limiter);
    });
    return group;
  }

  async #limiter(kind: Kind, keyId: string): Promise<Limiter> {
    const group = this.#groups[kind];
    // A Group looks its limiters up in a plain object, where some ids would find what every object has.
    const name = `key ${keyId}`;
    const limiter = group.key(name);
    const known = this.#limiters.get(limiter);
    if (known) return known;
    this.#forgetOld();
    try {
      await limiter.ready();
    } catch (error) {
      // It would fail for ever; the next claim makes a new one.
      delete (group as unknown as { instances: Record<string, Bottleneck> }).instances[name];
      throw error;
    }
    const made = this.#limiters.get(limiter) ?? new Limiter(limiter, this.#redis !== undefined);
    this.#limiters.set(limiter, made);
    return made;
  }

  /** What the Groups have forgotten. */
  #forgetOld(): void {
    const kept = new Set(kinds.flatMap((kind) => this.#groups[kind].limiters().map(({ limiter }) => limiter)));
    for (const limiter of this.#limiters.keys()) if (!kept.has(limiter)) this.#limiters.delete(limiter);
  }

  #hold(claim: Claim, limiter: Limiter, job: Job): Hold {
    const onOver = () => void this.#holds.delete(hold);
    const options = { limiter, job, claim, clock: this.#clock, onOver, onError: (error: unknown) => this.#fail(error) };
    const hold = new LimiterHold(options);
    this.#holds.add(hold);
    if (this.#closed) hold.release();
    return hold;
  }

  #fail(error: unknown): void {
    if (this.#redis) this.#redis.fail(error);
    else this.#log.error({ err: error }, "a quota limiter failed");
  }
}

type HoldOptions = {
  readonly limiter: Limiter;
  readonly job: Job;
  readonly claim: Claim;
  readonly clock: Clock;
  readonly onOver: () => void;
  readonly onError: (error: unknown) => void;
};

/** Keeps a job for a minute. For concurrency a new job takes its place every minute, so that a dead replica's do not last. */
class LimiterHold implements Hold {
  readonly kind: Kind;
  readonly #options: HoldOptions;
  readonly #endsMs: number;
  #weight: number;
  #job: Job | undefined;
  #over = false;
  #stopTimer: () => void;

  constructor(options: HoldOptions) {
    const { claim, clock, job } = options;
    this.kind = claim.kind;
    this.#options = options;
    this.#weight = claim.weight;
    this.#job = job;
    this.#endsMs = clock.now() + windowMs;
    this.#stopTimer = clock.after(windowMs, () => this.#minutePassed());
  }

  release(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopTimer();
    if (this.#job) this.#options.limiter.release(this.#job);
    this.#options.onOver();
  }

  resize(weight: number): void {
    if (this.#over) return;
    this.#weight = weight;
    this.#swap(this.#endsMs - this.#options.clock.now());
  }

  #minutePassed(): void {
    if (this.kind === "concurrency") {
      this.#stopTimer = this.#options.clock.after(windowMs, () => this.#minutePassed());
      this.#swap(windowMs);
    } else this.release();
  }

  #swap(lastsMs: number): void {
    const { limiter, claim, onError } = this.#options;
    const old = this.#job;
    if (!old) return;
    this.#job = undefined;
    const take = (job: Job | undefined) => {
      if (job && this.#over) limiter.release(job);
      else this.#job = job;
    };
    limiter.swap(old, this.#weight, limitOf(claim.kind, claim.limits), lastsMs + graceMs).then(take, onError);
  }
}

/**
 * In memory bottleneck waits two turns of the timers, at least 2 ms, before it looks at numbers that it has at hand. Without the wait
 * the same decision takes microtasks. A release that has no such method just takes its time.
 */
function decideAtOnce(limiter: Bottleneck): void {
  const { _store: store } = limiter as unknown as { _store?: { yieldLoop?: () => Promise<void> } };
  if (store?.yieldLoop) store.yieldLoop = () => Promise.resolve();
}
