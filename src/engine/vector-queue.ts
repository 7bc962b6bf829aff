// Collects inputs of all calls into batches, one input of each call in turn, so that a call with thousands of them delays another
// one by a batch and not by all of its own. Runs one batch at a time. Knows no model.
import type { OnTokens } from "./embedding.ts";

export type VectorQueueOptions = {
  /** Of one batch; a longer input is a batch of its own. */
  readonly maxTokens: number;
  readonly maxInputs: number;
  /** The rows of a batch, by input. */
  readonly run: (inputs: readonly Int32Array[]) => Promise<Float32Array[]>;
};

type Call = {
  readonly inputs: readonly Int32Array[];
  readonly rows: Float32Array[];
  /** Inputs that are in a batch already. */
  taken: number;
  /** Rows that are still to come. */
  missing: number;
  readonly onTokens: OnTokens;
  readonly resolve: (rows: Float32Array[]) => void;
  readonly reject: (reason: unknown) => void;
};

type Item = { readonly call: Call; readonly index: number };

export class VectorQueue {
  readonly #options: VectorQueueOptions;
  /** Those with inputs that are in no batch yet, in the order of their turns. */
  #calls: Call[] = [];
  #running: Promise<void> | undefined;
  #closed: Error | undefined;

  constructor(options: VectorQueueOptions) {
    this.#options = options;
  }

  /**
   * The rows of these inputs, in order.
   * @param onTokens told the tokens of each input that goes into a batch
   * @throws the signal's reason, what a batch threw, or the reason of close()
   */
  async add(
    inputs: readonly Int32Array[],
    signal: AbortSignal,
    onTokens: OnTokens = () => {},
  ): Promise<Float32Array[]> {
    signal.throwIfAborted();
    if (this.#closed) throw this.#closed;
    if (inputs.length === 0) return [];
    let leave = () => {};
    try {
      return await new Promise<Float32Array[]>((resolve, reject) => {
        const call: Call = { inputs, rows: [], taken: 0, missing: inputs.length, onTokens, resolve, reject };
        leave = () => this.#drop(call, signal.reason);
        signal.addEventListener("abort", leave, { once: true });
        this.#calls.push(call);
        this.#running ??= this.#work();
      });
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** Every call that still has inputs in no batch throws this reason. Resolves when no batch runs any more. Idempotent. */
  async close(reason: Error): Promise<void> {
    this.#closed ??= reason;
    for (const call of [...this.#calls]) this.#drop(call, reason);
    await this.#running;
  }

  async #work(): Promise<void> {
    // Inputs of calls that arrive together share their first batch.
    await Promise.resolve();
    while (this.#calls.length > 0) await this.#runBatch(this.#nextBatch());
    this.#running = undefined;
  }

  async #runBatch(batch: readonly Item[]): Promise<void> {
    try {
      const rows = await this.#options.run(batch.map(({ call, index }) => call.inputs[index]!));
      for (const [place, { call, index }] of batch.entries()) this.#deliver(call, index, rows[place]!);
    } catch (error) {
      for (const { call } of batch) this.#drop(call, error);
    }
  }

  #nextBatch(): Item[] {
    const batch: Item[] = [];
    let tokens = 0;
    while (this.#calls.length > 0 && batch.length < this.#options.maxInputs) {
      const call = this.#calls[0]!;
      const { length } = call.inputs[call.taken]!;
      if (batch.length > 0 && tokens + length > this.#options.maxTokens) break;
      batch.push({ call, index: call.taken });
      tokens += length;
      call.taken += 1;
      call.onTokens(length);
      this.#calls.shift();
      if (call.taken < call.inputs.length) this.#calls.push(call);
    }
    return batch;
  }

  #deliver(call: Call, index: number, row: Float32Array): void {
    call.rows[index] = row;
    call.missing -= 1;
    if (call.missing === 0) call.resolve(call.rows);
  }

  /** What a running batch still brings it is lost. */
  #drop(call: Call, reason: unknown): void {
    this.#calls = this.#calls.filter((other) => other !== call);
    call.reject(reason);
  }
}
