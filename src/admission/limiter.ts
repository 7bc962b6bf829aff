// One bottleneck limiter: jobs that hold their weight until they are released. It adds what bottleneck lacks: an answer at once
// instead of a place in its queue, limits that differ from call to call, and weights that change.
import Bottleneck from "bottleneck";

/** bottleneck returns a promise of whether it refused the job; its types leave that out. */
type Submit = (
  options: Bottleneck.JobOptions,
  job: (done: (error: unknown) => void) => void,
  over: (error: unknown) => void,
) => Promise<boolean>;

/** Units taken from a limiter. */
export class Job {
  static #count = 0;
  readonly #id = String(++Job.#count);
  #release: () => void = () => {};
  readonly #released = new Promise<void>((resolve) => {
    this.#release = resolve;
  });
  #problem: unknown;
  /** Resolves when the limiter has its weight back, or did not take the job. */
  over: Promise<void> = Promise.resolve();

  /** @returns false: there is no room for it now @throws what the limiter's store failed with */
  async start(limiter: Bottleneck, weight: number, expirationMs: number): Promise<boolean> {
    const submit = limiter.submit.bind(limiter) as unknown as Submit;
    let refused = Promise.resolve(false);
    this.over = new Promise((resolve) => {
      const options = { id: this.#id, weight, expiration: expirationMs };
      const run = (done: (error: unknown) => void) => void this.#released.then(() => done(null));
      refused = submit(options, run, (problem) => {
        this.#problem = problem;
        resolve();
      });
    });
    const dropped = await refused;
    const status = limiter.jobStatus(this.#id) as string | null;
    if (status === "RUNNING" || status === "EXECUTING") return true;
    this.release();
    // Another process was quicker: the job waits in bottleneck's queue, from which it cannot be taken; it ends when it comes to run.
    if (dropped || status === "QUEUED") return false;
    await this.over;
    if (this.#problem instanceof Bottleneck.BottleneckError) return false;
    throw this.#problem;
  }

  release(): void {
    this.#release();
  }
}

/** @param total what all processes hold, where others hold any */
export type Taken = { readonly job: Job | undefined; readonly total?: number };

export class Limiter {
  readonly #limiter: Bottleneck;
  readonly #shared: boolean;
  #limit: number | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #leaving = new Set<Promise<void>>();

  /** @param shared other processes use it, too */
  constructor(limiter: Bottleneck, shared: boolean) {
    this.#limiter = limiter;
    this.#shared = shared;
  }

  /**
   * @param weight at most `limit` @param limit judges this job against all that run, whatever limits those had
   * @param expirationMs after which the job is over even if nobody releases it
   * @returns no job: there is no room now @throws what the store failed with
   */
  take(weight: number, limit: number, expirationMs: number): Promise<Taken> {
    return this.#inTurn(() => this.#take(weight, limit, expirationMs));
  }

  /** Puts a job of another weight in the place of one, which ends in any case. @returns undefined when others took the room */
  swap(old: Job, weight: number, limit: number, expirationMs: number): Promise<Job | undefined> {
    return this.#inTurn(async () => {
      let early: Job | undefined;
      try {
        // Where others wait for room, the new job comes first, so that they do not get in between.
        if (this.#shared) early = (await this.#take(weight, limit, expirationMs)).job;
      } finally {
        this.release(old);
      }
      return early ?? (await this.#take(weight, limit, expirationMs)).job;
    });
  }

  /** The next take() finds its room free. */
  release(job: Job): void {
    job.release();
    const gone = job.over.then(() => void this.#leaving.delete(gone));
    this.#leaving.add(gone);
  }

  /** Resolves when everything released so far has left. */
  async settled(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  /** One after another: what a job that came too late leaves in bottleneck's queue must be seen by the next. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(act);
    this.#turn = result.then(
      () => {},
      () => {}, // Told to whoever asked for it.
    );
    return result;
  }

  async #take(weight: number, limit: number, expirationMs: number): Promise<Taken> {
    await this.#setLimit(limit);
    const job = await this.#start(weight, expirationMs);
    if (!this.#shared) return { job };
    const total = await this.#total(job);
    if (job && total > limit) {
      this.release(job); // The limit that all processes share is another key's, and higher.
      return { job: undefined, total };
    }
    if (job || total + weight > limit) return { job, total };
    this.#limit = undefined; // There is room by this key's limit: another process has set a lower one.
    await this.#setLimit(limit);
    return { job: await this.#start(weight, expirationMs), total: total + weight };
  }

  /** What has been released makes room, but leaves only after a turn of the timers: waited for when there is no other room. */
  async #start(weight: number, expirationMs: number): Promise<Job | undefined> {
    const job = await this.#startNow(weight, expirationMs);
    if (job || this.#leaving.size === 0) return job;
    await this.settled();
    return this.#startNow(weight, expirationMs);
  }

  /** What all processes hold. */
  async #total(job: Job | undefined): Promise<number> {
    try {
      return await this.#limiter.running();
    } catch (error) {
      if (job) this.release(job);
      throw error;
    }
  }

  async #startNow(weight: number, expirationMs: number): Promise<Job | undefined> {
    if (this.#limiter.queued() > 0) return undefined;
    const job = new Job();
    return (await job.start(this.#limiter, weight, expirationMs)) ? job : undefined;
  }

  async #setLimit(limit: number): Promise<void> {
    if (limit === this.#limit) return;
    await this.#limiter.updateSettings({ maxConcurrent: limit });
    this.#limit = limit;
  }
}
