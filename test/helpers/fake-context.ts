// A NativeContext whose steps end when the test says so. It keeps every sequence's positions as llama.cpp would and refuses a
// batch that llama.cpp would refuse or compute in more passes than it must.
import type { BatchBuffers, NativeContext } from "../../src/engine/addon.ts";

export type RecordedStep = {
  readonly entries: { sequence: number; token: number; position: number; output: boolean }[];
  readonly scales: readonly number[];
};

export class FakeContext implements NativeContext {
  readonly steps: RecordedStep[] = [];
  /** Length of every sequence in the cache. */
  readonly lengths: number[];
  readonly samplers = new Set<number>();
  /** Of the LoRA adapters. */
  scales: readonly number[] = [];
  /** What the next steps sample, by sequence; by default the number of tokens it holds. */
  sample: (sequence: number, length: number) => number = (_sequence, length) => length;
  /** Of every sampled token. */
  logprob = 0;
  /** Steps end by themselves unless this is set. */
  manual = false;
  disposed = false;
  readonly #buffers: BatchBuffers;
  #running: { resolve: (outputs: number) => void; reject: (error: Error) => void; count: number } | undefined;
  #stepWaiters: (() => void)[] = [];

  constructor(sequences: number, batchTokens: number) {
    this.lengths = new Array(sequences).fill(0);
    const int32 = () => new Int32Array(batchTokens);
    this.#buffers = {
      tokens: int32(),
      positions: int32(),
      sequences: int32(),
      outputs: new Int8Array(batchTokens),
      sampled: int32(),
      topTokens: new Int32Array(batchTokens * 21),
      logprobs: new Float32Array(batchTokens * 21),
    };
  }

  get stepRunning(): boolean {
    return this.#running !== undefined;
  }

  buffers(): BatchBuffers {
    return this.#buffers;
  }

  step(count: number): Promise<number> {
    if (this.#running) throw new Error("a step is running");
    this.#record(count);
    const result = new Promise<number>((resolve, reject) => {
      this.#running = { resolve, reject, count };
    });
    for (const waiter of this.#stepWaiters.splice(0)) waiter();
    if (!this.manual) setImmediate(() => this.finishStep());
    return result;
  }

  /** Resolves once a step is running. */
  async stepStarted(): Promise<void> {
    if (!this.#running) await new Promise<void>((resolve) => this.#stepWaiters.push(resolve));
  }

  finishStep(): void {
    const { resolve, count } = this.#running!;
    this.#running = undefined;
    let outputs = 0;
    for (let i = 0; i < count; i++) {
      const sequence = this.#buffers.sequences[i]!;
      this.lengths[sequence] = this.#buffers.positions[i]! + 1;
      if (!this.#buffers.outputs[i]) continue;
      const refused = this.#drafted(i) && this.#buffers.sampled[outputs - 1] !== this.#buffers.tokens[i];
      this.#buffers.logprobs[outputs * 21] = this.logprob;
      this.#buffers.sampled[outputs++] = refused ? -1 : this.sample(sequence, this.lengths[sequence]!);
    }
    resolve(outputs);
  }

  /** An output right after another one of its sequence verifies a guess. */
  #drafted(i: number): boolean {
    const { outputs, sequences } = this.#buffers;
    return i > 0 && outputs[i - 1] === 1 && sequences[i - 1] === sequences[i];
  }

  failStep(error: Error): void {
    const { reject } = this.#running!;
    this.#running = undefined;
    reject(error);
  }

  removeTokens(sequence: number, from: number, _to: number): boolean {
    this.#mustBeIdle();
    this.lengths[sequence] = Math.min(this.lengths[sequence]!, Math.max(from, 0));
    return true;
  }

  copySequence(from: number, to: number): void {
    this.#mustBeIdle();
    this.lengths[to] = this.lengths[from]!;
  }

  setSampler(sequence: number): void {
    this.#mustBeIdle();
    this.samplers.add(sequence);
  }

  clearSampler(sequence: number): void {
    this.#mustBeIdle();
    this.samplers.delete(sequence);
  }

  setAdapters(scales: readonly number[]): void {
    this.#mustBeIdle();
    this.scales = scales;
  }

  memory(): { modelBytes: number; contextBytes: number; computeBytes: number } {
    return { modelBytes: 0, contextBytes: 0, computeBytes: 0 };
  }

  dispose(): void {
    this.disposed = true;
  }

  #mustBeIdle(): void {
    if (this.#running) throw new Error("a step is running");
  }

  #record(count: number): void {
    if (count < 1 || count > this.#buffers.tokens.length) throw new Error(`a batch of ${count} tokens`);
    const entries: RecordedStep["entries"] = [];
    const next = [...this.lengths];
    for (let i = 0; i < count; i++) {
      const sequence = this.#buffers.sequences[i]!;
      const position = this.#buffers.positions[i]!;
      if (position !== next[sequence])
        throw new Error(`sequence ${sequence}: position ${position} after ${next[sequence]}`);
      next[sequence] = position + 1;
      const output = this.#buffers.outputs[i] === 1;
      if (output && !this.samplers.has(sequence)) throw new Error(`sequence ${sequence}: output without a sampler`);
      const before = entries.at(-1);
      if (before && before.sequence > sequence) throw new Error("the batch is not in id order");
      entries.push({ sequence, token: this.#buffers.tokens[i]!, position, output });
    }
    this.steps.push({ entries, scales: this.scales });
  }
}
