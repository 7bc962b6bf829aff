// A NativeContext whose steps end when the test says so. It keeps every sequence's positions as llama.cpp would and refuses a
// batch that llama.cpp would refuse or compute in more passes than it must.
import type { BatchBuffers, NativeContext, NativeSamplingFailure } from "../../src/engine/addon.ts";
import { rowLength } from "../../src/engine/logprobs.ts";

export type RecordedStep = {
  readonly entries: { sequence: number; token: number; position: number; output: boolean }[];
  readonly scales: readonly number[];
};

/** Prompt tokens that one step scores. */
const scoredRows = 32;

export class FakeContext implements NativeContext {
  readonly steps: RecordedStep[] = [];
  /** Length of every sequence in the cache. */
  readonly lengths: number[];
  readonly samplers = new Set<number>();
  /** Of the LoRA adapters. */
  scales: readonly number[] = [];
  /** What the next steps sample, by sequence; by default the number of tokens it holds. */
  sample: (sequence: number, length: number) => number = (_sequence, length) => length;
  /** Of a sequence whose sample is -1. */
  failure: NativeSamplingFailure = { code: "GRAMMAR_TOO_COMPLEX", message: "too many readings" };
  /** Of every sampled token. */
  logprob = 0;
  /** Steps end by themselves unless this is set. */
  manual = false;
  /** A recurrent memory cannot drop the end of a sequence. */
  cuttable = true;
  acceptsStates = true;
  /** Sequences that were copied, in order. */
  readonly sequenceCopies: (readonly [from: number, to: number])[] = [];
  /** Copies of states, in order. */
  readonly copies: { kind: "save" | "load"; sequence: number; length: number }[] = [];
  disposed = false;
  readonly #failed = new Set<number>();
  readonly #buffers: BatchBuffers;
  /** Begins the next step by itself where it may, unless this was sampled; undefined: never. */
  aheadUntil: number | undefined;
  #running: { resolve: (outputs: number) => void; reject: (error: Error) => void; count: number } | undefined;
  /** Of the step that runs ahead, until it is asked for. */
  #ahead: Promise<number> | undefined;
  #goOn = false;
  #stepWaiters: (() => void)[] = [];

  constructor(sequences: number, batchTokens: number) {
    this.lengths = new Array(sequences).fill(0);
    const int32 = () => new Int32Array(batchTokens);
    this.#buffers = {
      tokens: int32(),
      positions: int32(),
      sequences: int32(),
      outputs: new Int8Array(batchTokens),
      targets: int32(),
      sampled: int32(),
      topTokens: new Int32Array((sequences + scoredRows) * rowLength),
      logprobs: new Float32Array((sequences + scoredRows) * rowLength),
    };
  }

  get stepRunning(): boolean {
    return this.#running !== undefined;
  }

  buffers(): BatchBuffers {
    return this.#buffers;
  }

  step(count: number, ahead = false): Promise<number> {
    this.#mustBeIdle();
    this.#goOn = ahead;
    return this.#begin(count);
  }

  runsAhead(): boolean {
    return this.#ahead !== undefined;
  }

  next(ahead: boolean): Promise<number> {
    const outcome = this.#ahead;
    if (!outcome) throw new Error("no step runs ahead");
    this.#ahead = undefined;
    this.#goOn = ahead;
    return outcome;
  }

  hold(): void {
    this.#goOn = false;
  }

  stepMs(): number {
    return 1;
  }

  #begin(count: number): Promise<number> {
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
      if (this.#buffers.outputs[i] === 2) this.#score(outputs++, this.#buffers.targets[i]!);
      else this.#sample(i, outputs++);
    }
    if (this.#goOn && this.aheadUntil !== undefined) this.#goAhead(count, outputs);
    resolve(outputs);
  }

  #goAhead(count: number, outputs: number): void {
    const { tokens, positions, outputs: wanted, sampled, sequences } = this.#buffers;
    if (new Set(sequences.subarray(0, count)).size < count || wanted.subarray(0, count).includes(2)) return;
    if ([...sampled.subarray(0, outputs)].some((token) => token < 0 || token === this.aheadUntil)) return;
    this.#goOn = false;
    for (let i = 0, output = 0; i < count; i++) {
      positions[i]!++;
      if (wanted[i] === 1) tokens[i] = sampled[output++]!;
    }
    this.#ahead = this.#begin(count);
  }

  /** A negative sample is a failure of its sequence; after a wrong guess nothing is sampled. */
  #sample(i: number, output: number): void {
    const { sampled, tokens, sequences, logprobs } = this.#buffers;
    const sequence = sequences[i]!;
    logprobs[output * rowLength] = this.logprob;
    sampled[output] = -1;
    if (this.#drafted(i) && sampled[output - 1] !== tokens[i]) return;
    sampled[output] = this.sample(sequence, this.lengths[sequence]!);
    if (sampled[output] < 0) this.#failed.add(sequence);
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
    if (!this.cuttable && from > 0 && from < this.lengths[sequence]!) return false;
    this.lengths[sequence] = Math.min(this.lengths[sequence]!, Math.max(from, 0));
    return true;
  }

  copySequence(from: number, to: number): void {
    this.#mustBeIdle();
    this.lengths[to] = this.lengths[from]!;
    this.sequenceCopies.push([from, to]);
  }

  firstPosition(sequence: number): number {
    this.#mustBeIdle();
    return this.lengths[sequence]! > 0 ? 0 : -1;
  }

  /** A state is its length. */
  async saveState(sequence: number, _partial: boolean, maxBytes: number): Promise<Uint8Array | null> {
    this.#mustBeIdle();
    if (maxBytes < 4) return null;
    this.copies.push({ kind: "save", sequence, length: this.lengths[sequence]! });
    return new Uint8Array(Int32Array.of(this.lengths[sequence]!).buffer);
  }

  async loadState(sequence: number, state: Uint8Array, _partial: boolean): Promise<boolean> {
    this.#mustBeIdle();
    if (!this.acceptsStates) return false;
    this.lengths[sequence] = new Int32Array(state.slice().buffer)[0]!;
    this.copies.push({ kind: "load", sequence, length: this.lengths[sequence]! });
    return true;
  }

  setSampler(sequence: number): void {
    this.#mustBeIdle();
    this.samplers.add(sequence);
  }

  clearSampler(sequence: number): void {
    this.#mustBeIdle();
    this.#failed.delete(sequence);
    this.samplers.delete(sequence);
  }

  moveSampler(from: number, to: number): void {
    this.#mustBeIdle();
    if (!this.samplers.delete(from)) throw new Error("no sampler to move");
    this.samplers.add(to);
  }

  samplingFailure(sequence: number): NativeSamplingFailure | null {
    return this.#failed.has(sequence) ? this.failure : null;
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

  /** The log-probability of token t is -t; the alternatives are the tokens from 0 on. */
  #score(output: number, target: number): void {
    const row = output * rowLength;
    this.#buffers.sampled[output] = target;
    for (let i = 0; i < rowLength; i++) {
      const token = i === 0 ? target : i - 1;
      this.#buffers.topTokens[row + i] = token;
      this.#buffers.logprobs[row + i] = -token;
    }
  }

  /** A target within a chunk is the token that comes next. */
  #mustFollow(index: number, sequence: number): void {
    const { tokens, sequences, targets } = this.#buffers;
    if (sequences[index + 1] === sequence && tokens[index + 1] !== targets[index]) throw new Error("a wrong target");
  }

  #mustBeIdle(): void {
    if (this.#running || this.#ahead) throw new Error("a step is running");
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
      if (this.#buffers.outputs[i] === 2 && i + 1 < count) this.#mustFollow(i, sequence);
      if (output && !this.samplers.has(sequence)) throw new Error(`sequence ${sequence}: output without a sampler`);
      const before = entries.at(-1);
      if (before && before.sequence > sequence) throw new Error("the batch is not in id order");
      entries.push({ sequence, token: this.#buffers.tokens[i]!, position, output });
    }
    this.steps.push({ entries, scales: this.scales });
  }
}
