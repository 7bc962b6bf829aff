// Quota and gate together against a simple model of what they promise: any interleaving of arrivals, leavings, completions, passing
// time and changed limits.
import test from "ava";
import fc from "fast-check";
import { Gate, type Place } from "../../src/admission/gate.ts";
import { type Admission, Quota } from "../../src/admission/quota.ts";
import { tokensToReserve } from "../../src/admission/reservation.ts";
import { Failure } from "../../src/errors.ts";
import type { Identity, Limits } from "../../src/keys/key-ring.ts";
import { CountingStore, limits, settle } from "../helpers/admission.ts";
import { FakeClock } from "../helpers/fake-clock.ts";

const keyIds = ["a", "b", "c"] as const;
const places = 2;
const windowMs = 60_000;

const anyLimits = fc.record({
  requestsPerMinute: fc.constantFrom(3, 6, 12),
  tokensPerMinute: fc.constantFrom(0, 60, 200),
  concurrentRequests: fc.constantFrom(0, 2, 5),
});
const arrive = fc.record({
  do: fc.constant("arrive" as const),
  key: fc.nat(keyIds.length - 1),
  promptTokens: fc.integer({ min: 1, max: 30 }),
  maxTokens: fc.integer({ min: 1, max: 40 }),
});
const leave = fc.record({ do: fc.constantFrom("leave" as const), which: fc.nat(), computed: fc.nat(20) });
const finish = fc.record({ do: fc.constantFrom("finish" as const), which: fc.nat(), computed: fc.nat(90) });
const wait = fc.record({ do: fc.constant("wait" as const), ms: fc.oneof(fc.nat(3000), fc.nat(70_000)) });
const reload = fc.record({ do: fc.constant("reload" as const), key: fc.nat(keyIds.length - 1), limits: anyLimits });
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: arrive },
    { weight: 1, arbitrary: leave },
    { weight: 3, arbitrary: finish },
    { weight: 2, arbitrary: wait },
    { weight: 1, arbitrary: reload },
  ),
  { minLength: 20, maxLength: 80 },
);

type Call = {
  readonly keyId: string;
  readonly controller: AbortController;
  readonly done: Promise<void>;
  state: "arriving" | "waiting" | "running" | "over";
  place?: Place;
  /** Tokens that it will have cost. */
  finish: (computed: number) => void;
};

/** What counts for one key_id, as simply as can be: units with the moment they count from. */
class ModelOfKey {
  readonly requests = new Set<{ atMs: number; weight: number }>();
  readonly tokens = new Set<{ atMs: number; weight: number }>();

  live(kind: "requests" | "tokens", now: number): number {
    let sum = 0;
    for (const { atMs, weight } of this[kind]) if (atMs + windowMs > now) sum += weight;
    return sum;
  }
}

class World {
  readonly #gentle: boolean;
  readonly clock = new FakeClock();
  readonly store = new CountingStore();
  readonly quota = new Quota(this.store, this.clock);
  readonly gate = new Gate({
    config: { maxQueueSize: 6, maxQueuedTokens: 0, queueTimeout: 45 },
    places: () => places,
    clock: this.clock,
  });
  readonly limits = new Map<string, Limits>(keyIds.map((keyId) => [keyId, limits(6, 200, 5)]));
  readonly models = new Map(keyIds.map((keyId) => [keyId as string, new ModelOfKey()]));
  readonly calls: Call[] = [];
  /** Of each two keys: places that the first got more than the second, at most, while the second had somebody waiting. */
  readonly ahead = new Map<string, number>();
  /** No key has used more than it reserved, nor had its limits changed: the simple sums are exact. */
  exact = true;
  /** What a call found wrong. */
  problem: unknown;
  served = 0;
  refunded = 0;

  /** @param gentle no call uses more than it reserved */
  constructor(gentle: boolean) {
    this.#gentle = gentle;
  }

  identity(keyId: string): Identity {
    return { keyId, limits: this.limits.get(keyId)! };
  }

  waitingOf(keyId: string): number {
    return this.calls.filter((call) => call.keyId === keyId && call.state === "waiting").length;
  }

  arrive(keyId: string, promptTokens: number, maxTokens: number): void {
    const controller = new AbortController();
    let finish = (_computed: number) => {};
    const ran = new Promise<number>((resolve) => {
      finish = resolve;
    });
    const call: Call = { keyId, controller, state: "arriving", finish, done: Promise.resolve() };
    this.calls.push(call);
    (call as { done: Promise<void> }).done = this.#live(call, { promptTokens, maxTokens }, ran).catch((error) => {
      if (!(error instanceof Failure) && error !== controller.signal.reason) this.problem ??= error;
    });
  }

  /** A call's whole life, as the routes live it. */
  async #live(call: Call, asked: { promptTokens: number; maxTokens: number }, ran: Promise<number>): Promise<void> {
    const { keyId } = call;
    const given = this.limits.get(keyId)!;
    const model = this.models.get(keyId)!;
    const before = model.live("requests", this.clock.now());
    let admission: Admission;
    try {
      admission = await this.quota.admit({ keyId, limits: given });
    } catch (error) {
      call.state = "over";
      throw error;
    }
    if (before + 1 > given.requestsPerMinute) throw new Error(`${keyId}: request ${before + 1} in a minute`);
    const unit = { atMs: this.clock.now(), weight: 1 };
    model.requests.add(unit);
    let reserved = { atMs: 0, weight: 0 };
    try {
      const { tokensPerMinute } = given;
      if (tokensPerMinute > 0) reserved = await this.#reserve(call, admission, asked, given);
      call.state = "waiting";
      call.place = await this.gate.enter({ keyId, promptTokens: asked.promptTokens, signal: call.controller.signal });
    } catch (error) {
      call.state = "over";
      if (!(error instanceof Failure && error.status === 400)) {
        admission.giveBack();
        model.requests.delete(unit);
        model.tokens.delete(reserved);
        this.refunded += 1;
      }
      admission.end();
      throw error;
    }
    this.#gotPlace(call);
    const wanted = await ran;
    const computed = this.#gentle ? Math.min(wanted, reserved.weight) : wanted;
    if (computed > reserved.weight && reserved.weight > 0) this.exact = false;
    reserved.weight = Math.min(computed, reserved.weight);
    admission.settle(computed);
    call.place.release();
    admission.end();
    call.state = "over";
    this.served += 1;
  }

  async #reserve(call: Call, admission: Admission, asked: { promptTokens: number; maxTokens: number }, given: Limits) {
    const model = this.models.get(call.keyId)!;
    const weight = tokensToReserve({ ...asked, answers: 1 }, given.tokensPerMinute);
    await admission.reserveTokens({ ...asked, answers: 1 });
    const now = this.clock.now();
    if (model.live("tokens", now) + weight > given.tokensPerMinute) throw new Error(`${call.keyId}: too many tokens`);
    const entry = { atMs: now, weight };
    model.tokens.add(entry);
    return entry;
  }

  #gotPlace(call: Call): void {
    call.state = "running";
    for (const keyId of keyIds) {
      if (keyId === call.keyId) continue;
      const [lead, lag] = [`${call.keyId} ${keyId}`, `${keyId} ${call.keyId}`];
      this.ahead.set(lag, Math.max(0, (this.ahead.get(lag) ?? 0) - 1));
      if (this.waitingOf(keyId) > 0) this.ahead.set(lead, (this.ahead.get(lead) ?? 0) + 1);
      if (this.ahead.get(lead)! > places + 1) throw new Error(`${keyId} was passed over too often`);
    }
  }

  /** What must hold whenever nothing is under way. */
  check(): void {
    if (this.problem) throw this.problem;
    const now = this.clock.now();
    const running = this.calls.filter(({ state }) => state === "running").length;
    const waiting = this.calls.filter(({ state }) => state === "waiting").length;
    if (this.gate.active !== running || running > places) throw new Error(`${this.gate.active} places, ${running} run`);
    if (this.gate.waiting !== waiting) throw new Error(`${this.gate.waiting} wait, not ${waiting}`);
    if (waiting > 0 && running < places) throw new Error("somebody waits beside a free place");
    for (const [keyId, model] of this.models) {
      // Who has nobody waiting has no turn to lose.
      if (this.waitingOf(keyId) === 0) for (const other of keyIds) this.ahead.delete(`${other} ${keyId}`);
      const { requestsPerMinute, tokensPerMinute } = this.limits.get(keyId)!;
      const headers = this.quota.headers(this.identity(keyId));
      const left = Math.max(0, requestsPerMinute - model.live("requests", now));
      if (Number(headers["x-ratelimit-remaining-requests"]) !== left) throw new Error(`${keyId}: ${left} are left`);
      if (!this.exact || tokensPerMinute === 0) continue;
      const tokens = Math.max(0, tokensPerMinute - model.live("tokens", now));
      if (Number(headers["x-ratelimit-remaining-tokens"]) !== tokens)
        throw new Error(`${keyId}: ${tokens} tokens are left, not ${headers["x-ratelimit-remaining-tokens"]}`);
    }
  }

  /** Everybody runs to the end; after that nothing may be left. */
  async finishAll(): Promise<void> {
    while (this.calls.some(({ state }) => state !== "over")) {
      for (const call of this.calls) if (call.state === "running") call.finish(1);
      await settle();
      this.check();
    }
    await Promise.all(this.calls.map(({ done }) => done));
    this.check();
    this.clock.advance(1_000_000_000);
    // Windows drop what is old when they are asked.
    for (const keyId of keyIds) this.quota.headers({ keyId, limits: limits(1, 1) });
    if (this.clock.pending > 0) throw new Error(`${this.clock.pending} timers are left`);
    for (const [name, sum] of this.store.sums) if (sum !== 0) throw new Error(`${name}: ${sum} units are left`);
  }
}

test("no interleaving exceeds a quota, passes a key over, loses a place or charges what was refunded", async (t) => {
  const totals = { served: 0, refunded: 0, exact: 0 };
  const property = fc.asyncProperty(steps, fc.boolean(), async (all, gentle) => {
    const world = new World(gentle);
    for (const step of all) {
      const open = world.calls.filter(({ state }) => state === "waiting" || state === "running");
      const running = open.filter(({ state }) => state === "running");
      if (step.do === "arrive") world.arrive(keyIds[step.key]!, step.promptTokens, step.maxTokens);
      else if (step.do === "wait") world.clock.advance(step.ms);
      else if (step.do === "finish") running[step.which % running.length]?.finish(step.computed);
      else if (step.do === "leave") {
        const call = open[step.which % open.length];
        if (call?.state === "running") call.finish(step.computed);
        else call?.controller.abort(new Error("left"));
      } else if (!gentle) {
        world.limits.set(keyIds[step.key]!, step.limits);
        world.exact = false;
      }
      await settle();
      world.check();
    }
    await world.finishAll();
    totals.served += world.served;
    totals.refunded += world.refunded;
    totals.exact += world.exact ? 1 : 0;
  });
  await fc.assert(property, { numRuns: 500 });
  t.true(totals.served > 3000 && totals.refunded > 300 && totals.exact > 50, JSON.stringify(totals));
});
