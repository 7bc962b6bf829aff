// Quotas per key_id (CONTRACT.md section 6.1): lets a call in or refuses it with 429, reserves its tokens, and gives back or corrects
// what it took. Counts outlive a reload of the keys; each call is judged by the limits of its own key.
import type { Identity, Limits } from "../keys/key-ring.ts";
import { Allowance } from "./allowance.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { QuotaStore } from "./quota-store.ts";
import { type RateState, rateHeaders } from "./rate-headers.ts";
import { promptExceedsQuota, requestsUsedUp, tokensUsedUp, tooManyAtOnce } from "./refusals.ts";
import { type Demand, tokensToReserve } from "./reservation.ts";
import type { Entry, Hold } from "./sliding-window.ts";

/** One call that was let in, from then until its last byte. */
export interface Admission {
  /** Before it may run. @throws Failure token_rate_limit_exceeded (everything is given back) or request_exceeds_token_quota */
  reserveTokens(demand: Demand): Promise<void>;
  /** The tokens it cost: prompt without what was cached, and generated ones. The first time counts. */
  settle(tokens: number): void;
  /** It runs: from now on nothing is given back. */
  began(): void;
  /** It will never run: as if it had never been let in. */
  giveBack(): void;
  /** Its last byte is out, or its client gone. To be called on every path. */
  end(): void;
}

/** Of a caller without quotas. */
export const unlimited: Admission = {
  reserveTokens: async () => {},
  settle: () => {},
  began: () => {},
  giveBack: () => {},
  end: () => {},
};

export type KeyRemainder = {
  readonly keyId: string;
  readonly kind: "requests" | "tokens";
  readonly remaining: number;
};

export class Quota {
  readonly #store: QuotaStore;
  readonly #clock: Clock;
  readonly #accounts = new Map<string, Account>();

  constructor(store: QuotaStore, clock: Clock = systemClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** False while quotas should be shared with other replicas and cannot be. */
  get storeUp(): boolean {
    return this.#store.up;
  }

  /** Takes one request unit and one of concurrency. @throws Failure rate_limit_exceeded or concurrency_limit_exceeded */
  async admit({ keyId, limits }: Identity): Promise<Admission> {
    if (!limits) return unlimited;
    const account = this.#account(keyId, limits);
    const entry = await account.admit(limits);
    return new QuotaAdmission(account, limits, entry, this.#clock);
  }

  /** The x-ratelimit-* headers of an answer to this caller; none without quotas. */
  headers({ keyId, limits }: Identity): Record<string, string> {
    if (!limits) return {};
    const { requests, tokens } = this.#account(keyId, limits);
    return rateHeaders(stateOf(requests, limits), limits.tokensPerMinute > 0 ? stateOf(tokens, limits) : undefined);
  }

  /** What is left to every key_id that has called, by the limits of its last call. */
  remainders(): KeyRemainder[] {
    return Array.from(this.#accounts).flatMap(([keyId, { limits, requests, tokens }]) => {
      const left: KeyRemainder[] = [{ keyId, kind: "requests", remaining: requests.left(limits) }];
      if (limits.tokensPerMinute > 0) left.push({ keyId, kind: "tokens", remaining: tokens.left(limits) });
      return left;
    });
  }

  #account(keyId: string, limits: Limits): Account {
    const account = this.#accounts.get(keyId) ?? new Account(keyId, limits, this.#store, this.#clock);
    this.#accounts.set(keyId, account);
    account.limits = limits;
    return account;
  }
}

function stateOf(allowance: Allowance, limits: Limits): RateState {
  return { limit: allowance.limit(limits), remaining: allowance.left(limits), resetMs: allowance.msUntilFree(limits) };
}

/** Everything that is counted for one key_id. */
class Account {
  readonly requests: Allowance;
  readonly tokens: Allowance;
  /** Of the last call. */
  limits: Limits;
  readonly #keyId: string;
  readonly #store: QuotaStore;
  #running = 0;
  readonly #durations = new RecentDurations();

  constructor(keyId: string, limits: Limits, store: QuotaStore, clock: Clock) {
    this.requests = new Allowance({ kind: "requests", keyId, store, clock });
    this.tokens = new Allowance({ kind: "tokens", keyId, store, clock });
    this.limits = limits;
    this.#keyId = keyId;
    this.#store = store;
  }

  async admit(limits: Limits): Promise<{ unit: Entry; seat: Hold | undefined }> {
    const { concurrentRequests } = limits;
    const wait = this.requests.msUntilRoom(1, limits);
    if (wait > 0) throw requestsUsedUp(limits, wait);
    if (concurrentRequests > 0 && this.#running >= concurrentRequests) throw this.#tooMany(limits);
    this.#running += 1;
    const [unit, seat] = await Promise.all([this.requests.take(1, limits), this.#takeSeat(limits)]);
    if (unit.entry && seat !== "refused") return { unit: unit.entry, seat };
    if (unit.entry) this.requests.giveBack(unit.entry);
    this.leave(seat === "refused" ? undefined : seat);
    throw unit.entry ? this.#tooMany(limits) : requestsUsedUp(limits, unit.retryMs);
  }

  /** @param ms how long the call took, for the median; absent: it never ran */
  leave(seat: Hold | undefined, ms?: number): void {
    this.#running -= 1;
    seat?.release();
    if (ms !== undefined) this.#durations.add(ms);
  }

  async #takeSeat(limits: Limits): Promise<Hold | "refused" | undefined> {
    if (limits.concurrentRequests === 0) return undefined;
    const verdict = await this.#store.take({ kind: "concurrency", keyId: this.#keyId, weight: 1, limits });
    return verdict === "alone" ? undefined : (verdict.hold ?? "refused");
  }

  #tooMany(limits: Limits) {
    return tooManyAtOnce(limits, Math.min(60_000, Math.max(1000, this.#durations.median)));
  }
}

/** Told to a key that has as many calls open as it may before any has ended. */
const unknownDurationMs = 5000;
const durationsKept = 32;

class RecentDurations {
  readonly #recent: number[] = [];

  add(ms: number): void {
    this.#recent.push(ms);
    if (this.#recent.length > durationsKept) this.#recent.shift();
  }

  get median(): number {
    const sorted = this.#recent.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? unknownDurationMs;
  }
}

class QuotaAdmission implements Admission {
  readonly #account: Account;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #admittedMs: number;
  readonly #unit: Entry;
  readonly #seat: Hold | undefined;
  #tokens: Entry | undefined;
  #state: "open" | "began" | "given back" = "open";
  #ended = false;

  constructor(account: Account, limits: Limits, taken: { unit: Entry; seat: Hold | undefined }, clock: Clock) {
    this.#account = account;
    this.#limits = limits;
    this.#clock = clock;
    this.#admittedMs = clock.now();
    this.#unit = taken.unit;
    this.#seat = taken.seat;
  }

  async reserveTokens(demand: Demand): Promise<void> {
    const { tokensPerMinute } = this.#limits;
    if (tokensPerMinute === 0) return;
    if (demand.promptTokens > tokensPerMinute) throw promptExceedsQuota(this.#limits, demand.promptTokens);
    const needed = tokensToReserve(demand, tokensPerMinute);
    const { entry, retryMs } = await this.#account.tokens.take(needed, this.#limits);
    this.#tokens = entry;
    if (entry) return;
    this.giveBack();
    throw tokensUsedUp(this.#limits, needed, retryMs);
  }

  settle(tokens: number): void {
    const entry = this.#tokens;
    this.#tokens = undefined;
    if (entry) this.#account.tokens.correct(entry, tokens, this.#limits);
  }

  began(): void {
    if (this.#state === "open") this.#state = "began";
  }

  giveBack(): void {
    if (this.#state !== "open") return;
    this.#state = "given back";
    this.#account.requests.giveBack(this.#unit);
    if (this.#tokens) this.#account.tokens.giveBack(this.#tokens);
    this.#tokens = undefined;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#account.leave(this.#seat, this.#state === "given back" ? undefined : this.#clock.now() - this.#admittedMs);
  }
}
