// One per-minute quota of one key_id: the window that knows what this process let in and when, together with the limiter that judges
// it and, with Redis, everybody else's. Knows no HTTP.
import type { Limits } from "../keys/key-ring.ts";
import type { Clock } from "./clock.ts";
import { limitOf, type QuotaStore } from "./quota-store.ts";
import { type Entry, SlidingWindow, windowMs } from "./sliding-window.ts";

export type Taken = { readonly entry: Entry; readonly retryMs?: undefined };
/** How long until the same may fit. */
export type NotNow = { readonly entry?: undefined; readonly retryMs: number };

export type AllowanceOptions = {
  readonly kind: "requests" | "tokens";
  readonly keyId: string;
  readonly store: QuotaStore;
  readonly clock: Clock;
};

export class Allowance {
  readonly #options: AllowanceOptions;
  readonly #window = new SlidingWindow();
  /** What other replicas were seen to hold, and when. */
  #others = { units: 0, seenMs: Number.NEGATIVE_INFINITY };

  constructor(options: AllowanceOptions) {
    this.#options = options;
  }

  limit(limits: Limits): number {
    return limitOf(this.#options.kind, limits);
  }

  /** Units that are free by these limits, as far as this process knows. */
  left(limits: Limits): number {
    const now = this.#options.clock.now();
    const limit = this.limit(limits);
    this.#window.age(now, limit);
    const known = this.#options.store.up && now - this.#others.seenMs < windowMs;
    const others = known ? this.#others.units : 0;
    return Math.max(0, limit - this.#window.sum - this.#window.debt - others);
  }

  /** Until all of it is free again. */
  msUntilFree(limits: Limits): number {
    return this.#window.msUntilEmpty(this.limit(limits), this.#options.clock.now());
  }

  /** Until so much is free, by what this process let in; 0 = now. @param weight at most the limit */
  msUntilRoom(weight: number, limits: Limits): number {
    return this.#window.msUntilRoom(weight, this.limit(limits), this.#options.clock.now());
  }

  /** Takes units from now on for a minute. @param weight at least 1, at most the limit */
  async take(weight: number, limits: Limits): Promise<Taken | NotNow> {
    const retryMs = this.msUntilRoom(weight, limits);
    if (retryMs > 0) return { retryMs };
    // Entered before anybody is asked: whoever comes meanwhile must find it.
    const entry = this.#window.add(weight, this.#options.clock.now());
    if ((await this.#tellUntold(limits)) && (await this.#tell(entry, limits))) return { entry };
    this.#window.remove(entry);
    return { retryMs: this.#window.msUntilLeft(weight, this.#options.clock.now()) };
  }

  /** As if it had never been taken. */
  giveBack(entry: Entry): void {
    this.#window.remove(entry);
  }

  /** What was reserved turned out to be this much: less is given back, more is entered now, or owed. */
  correct(entry: Entry, used: number, limits: Limits): void {
    const reserved = entry.weight;
    if (used < reserved) this.#window.reduce(entry, used);
    if (used > reserved) this.#window.addUsed(used - reserved, this.#options.clock.now(), this.limit(limits));
    void this.#tellUntold(limits);
  }

  /** An excess and a debt go before anything new. @returns false when others have left no room for them */
  async #tellUntold(limits: Limits): Promise<boolean> {
    for (const entry of this.#window.untold) {
      this.#window.untold.delete(entry);
      if (await this.#tell(entry, limits)) continue;
      if (entry.spot?.line) this.#window.untold.add(entry);
      return false;
    }
    return true;
  }

  /** @returns false when the limiter has no room for it */
  async #tell(entry: Entry, limits: Limits): Promise<boolean> {
    const { kind, keyId, store, clock } = this.#options;
    const weight = entry.weight;
    const verdict = await store.take({ kind, keyId, weight, limits });
    if (verdict === "alone") return true;
    const { hold, total } = verdict;
    if (total !== undefined) {
      const own = this.#window.sum - (hold ? 0 : weight);
      this.#others = { units: Math.max(0, total - own), seenMs: clock.now() };
    }
    if (!hold) return false;
    if (!entry.spot?.line) hold.release();
    else {
      entry.hold = hold;
      if (entry.weight !== weight) hold.resize(entry.weight);
    }
    return true;
  }
}
