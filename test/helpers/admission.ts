// What tests of quotas need: a store that obeys or refuses as told, limits and identities, and what a refusal says.
import type { Claim, QuotaStore, Verdict } from "../../src/admission/quota-store.ts";
import { Failure } from "../../src/errors.ts";
import type { Identity, Limits } from "../../src/keys/key-ring.ts";

export const limits = (requestsPerMinute: number, tokensPerMinute = 0, concurrentRequests = 0): Limits => ({
  requestsPerMinute,
  tokensPerMinute,
  concurrentRequests,
});

export const caller = (given: Limits | null, keyId = "key"): Identity => ({ keyId, limits: given });

/** Holds what it is asked to and adds it up, by kind and key_id. */
export class CountingStore implements QuotaStore {
  up = true;
  readonly sums = new Map<string, number>();
  /** What take() says instead. */
  answer: "refused" | "alone" | undefined;
  /** Told besides, as another replica would make it. */
  others: number | undefined;

  sum(kind: Claim["kind"], keyId = "key"): number {
    return this.sums.get(`${kind} ${keyId}`) ?? 0;
  }

  async take({ kind, keyId, weight }: Claim): Promise<Verdict | "alone"> {
    if (this.answer === "alone") return "alone";
    if (this.answer === "refused") return this.#withTotal({}, kind, keyId);
    const name = `${kind} ${keyId}`;
    const add = (units: number) => this.sums.set(name, (this.sums.get(name) ?? 0) + units);
    let held = weight;
    add(held);
    const resize = (units: number) => {
      add(units - held);
      held = units;
    };
    return this.#withTotal({ hold: { release: () => resize(0), resize } }, kind, keyId);
  }

  #withTotal(verdict: Verdict, kind: Claim["kind"], keyId: string): Verdict {
    return { ...verdict, ...(this.others !== undefined && { total: this.sum(kind, keyId) + this.others }) };
  }

  async close(): Promise<void> {}
}

export type Refused = { code: string; status: number; message: string; headers: Readonly<Record<string, string>> };

/** What the caller of something that throws a Failure is told; undefined when it does not. */
export async function refusedBy(work: Promise<unknown>): Promise<Refused | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { status, headers, message } = error;
    return { code: error.toErrorObject().code, status, message, headers };
  }
}

/** Lets everything that waits for nothing but promises come to its end. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
