// The queue before the engine (CONTRACT.md section 6.3): gives out as many places as the engine has sequences, fairly between
// key_ids, and refuses who would wait too long or make the queue too long. Knows no tokens but their number, and no engine.
import type { Config } from "../config.ts";
import { type Clock, systemClock } from "./clock.ts";
import { FairQueue, type Ticket } from "./fair-queue.ts";
import { queuedTokensFull, queueFull, queueTimeout } from "./refusals.ts";
import { Throughput } from "./throughput.ts";

export type GateOptions = {
  readonly config: Pick<Config, "maxQueueSize" | "maxQueuedTokens" | "queueTimeout">;
  /** How many there are in all; 0 while there is no engine. */
  readonly places: () => number;
  /** Told whenever either changes: requests that have a place, and requests that wait for their first one. */
  readonly onChange?: (active: number, waiting: number) => void;
  readonly clock?: Clock;
};

export type Arrival = {
  readonly keyId: string;
  readonly promptTokens: number;
  /** Aborted: it waits no longer. */
  readonly signal: AbortSignal;
};

/** The right to one of the engine's sequences. */
export interface Place {
  /** Gives it back; the second and later times do nothing. */
  release(): void;
  /** Waits for one more place for the same request; it is no longer in the queue. @throws the signal's reason */
  another(signal: AbortSignal): Promise<Place>;
}

/** One request, from its first place on. */
type Request = {
  readonly keyId: string;
  places: number;
  /** Places it waits for besides. */
  lacks: number;
};

type Wait = {
  readonly request: Request;
  /** Its first place. */
  readonly first: boolean;
  readonly promptTokens: number;
  readonly signal: AbortSignal;
};

type Waiter = {
  readonly request: Request;
  readonly promptTokens: number;
  readonly admit: () => void;
  readonly refuse: (reason: unknown) => void;
};

export class Gate {
  readonly #options: GateOptions;
  readonly #clock: Clock;
  readonly #queue: FairQueue<Waiter>;
  /** Those that wait for their first place. */
  readonly #waiting = new Set<Waiter>();
  readonly #throughput = new Throughput();
  /** Places of each key_id that has any. */
  readonly #held = new Map<string, number>();
  #queuedTokens = 0;
  #taken = 0;
  #active = 0;
  #closed: (() => Error) | undefined;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#queue = new FairQueue(options.places);
  }

  /** Requests that have a place. */
  get active(): number {
    return this.#active;
  }
  /** Requests that wait for their first place. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** A place at once, or when its turn comes. @throws Failure queue_full, queued_tokens_full or queue_timeout; the signal's reason */
  async enter({ keyId, promptTokens, signal }: Arrival): Promise<Place> {
    signal.throwIfAborted();
    const request: Request = { keyId, places: 0, lacks: 0 };
    if (this.#queue.empty && this.#taken < this.#options.places()) return this.#give(request);
    if (this.#closed) throw this.#closed();
    this.#checkValves(promptTokens);
    return this.#wait({ request, first: true, promptTokens, signal });
  }

  /** Who waits for a first place is refused now, and so is who would have to wait from now on; the others go on. */
  close(reason: () => Error): void {
    this.#closed = reason;
    for (const waiter of this.#waiting) waiter.refuse(reason());
  }

  #checkValves(promptTokens: number): void {
    const { maxQueueSize, maxQueuedTokens } = this.#options.config;
    if (maxQueueSize > 0 && this.waiting >= maxQueueSize) throw queueFull(this.#retrySeconds());
    if (maxQueuedTokens > 0 && this.waiting > 0 && this.#queuedTokens + promptTokens > maxQueuedTokens)
      throw queuedTokensFull(this.#retrySeconds());
  }

  #retrySeconds(): number {
    return this.#throughput.secondsFor(Math.max(1, this.waiting), this.#clock.now());
  }

  /** For its first place until QUEUE_TIMEOUT, for a further one without end. */
  #wait({ request, first, promptTokens, signal }: Wait): Promise<Place> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener("abort", abort);
        stopTimer();
        this.#queue.leave(ticket);
        this.#left(waiter);
      };
      const refuse = (reason: unknown) => {
        leave();
        reject(reason);
      };
      const admit = () => {
        leave();
        resolve(this.#give(request));
      };
      const abort = () => refuse(signal.reason);
      const waiter: Waiter = { request, promptTokens, admit, refuse };
      const ticket: Ticket<Waiter> = this.#queue.join(request.keyId, waiter, {
        started: !first,
        held: this.#held.get(request.keyId) ?? 0,
      });
      const stopTimer = first ? this.#startTimer(waiter) : () => {};
      signal.addEventListener("abort", abort);
      this.#joined(waiter, first);
    });
  }

  #startTimer(waiter: Waiter): () => void {
    const seconds = this.#options.config.queueTimeout;
    return this.#clock.after(seconds * 1000, () => waiter.refuse(queueTimeout(seconds, this.#retrySeconds())));
  }

  #joined(waiter: Waiter, first: boolean): void {
    if (first) {
      this.#waiting.add(waiter);
      this.#queuedTokens += waiter.promptTokens;
    } else waiter.request.lacks += 1;
    this.#tell();
  }

  #left(waiter: Waiter): void {
    if (this.#waiting.delete(waiter)) this.#queuedTokens -= waiter.promptTokens;
    else waiter.request.lacks -= 1;
    this.#tell();
  }

  #give(request: Request): Place {
    this.#throughput.began(this.#clock.now());
    this.#taken += 1;
    this.#hold(request.keyId, 1);
    request.places += 1;
    if (request.places === 1) this.#active += 1;
    this.#tell();
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        this.#takeBack(request);
      },
      another: async (signal) => {
        signal.throwIfAborted();
        if (this.#queue.empty && this.#taken < this.#options.places()) return this.#give(request);
        return this.#wait({ request, first: false, promptTokens: 0, signal });
      },
    };
  }

  #hold(keyId: string, more: number): void {
    const held = (this.#held.get(keyId) ?? 0) + more;
    if (held > 0) this.#held.set(keyId, held);
    else this.#held.delete(keyId);
  }

  #takeBack(request: Request): void {
    this.#taken -= 1;
    this.#hold(request.keyId, -1);
    request.places -= 1;
    if (request.places === 0) {
      this.#active -= 1;
      if (request.lacks === 0) this.#throughput.ended(this.#clock.now());
    }
    while (this.#taken < this.#options.places()) {
      const next = this.#queue.next();
      if (!next) break;
      next.admit();
    }
    this.#tell();
  }

  #tell(): void {
    this.#options.onChange?.(this.#active, this.waiting);
  }
}
