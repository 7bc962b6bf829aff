// The heart of the program: repeats plan, submit, deliver, collect. While a step runs, the tokens of the one before are turned
// into events. Cancel, stop and limits take effect between steps. Knows nothing of HTTP, keys or files.
import { performance } from "node:perf_hooks";
import { Failure } from "../errors.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import type { BatchBuffers, NativeContext } from "./addon.ts";
import { Batch, PrefillBudget } from "./batch.ts";
import { Checkpoints } from "./checkpoints.ts";
import { samplingFailure } from "./constraint.ts";
import { Cuts, type MemoryKind } from "./cuts.ts";
import type { DecodeWork, GenerationEvent, GenerationRequest, SlotInfo } from "./engine.ts";
import { Generation, type Vocabulary } from "./generation.ts";
import { readLogprobs } from "./logprobs.ts";
import { type Sequence, Sequences } from "./sequences.ts";

export type SchedulerOptions = {
  readonly context: NativeContext;
  readonly sequences: number;
  /** Positions of one sequence. */
  readonly contextTokens: number;
  readonly vocabulary: Vocabulary;
  readonly itlTargetMs: number;
  /** Reuse the KV of prompt beginnings seen before, within a cache scope. */
  readonly prefixCache: boolean;
  /** What the model remembers with. */
  readonly memory: MemoryKind;
  /** Bound of the checkpoints that some kinds of memory need for reuse, in RAM, all together. */
  readonly checkpointBytes: number;
  /** Idle sequences in a row that get a throwaway token, so that the sequences around them share a pass. */
  readonly gap: number;
  /** Each sequence has a KV stream of its own (KV_LAYOUT), which rules what shares a compute pass. */
  readonly streams: boolean;
  readonly heartbeat: Heartbeat;
  readonly log: Logger;
  /** Several steps in a row failed: the engine is not coming back. */
  readonly onLost: (error: Error) => void;
};

const stopped = () => new Failure("draining", "The server is shutting down.");

/** One failed step may be its batch's fault; this many in a row are not. */
const failuresUntilLost = 3;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #context: NativeContext;
  readonly #sequences: Sequences;
  readonly #checkpoints: Checkpoints;
  readonly #batch: Batch;
  readonly #budget: PrefillBudget;
  readonly #buffers: BatchBuffers;
  readonly #waiting = new Set<Generation>();
  /** Generations that accepted a token or ended since the last delivery. */
  readonly #toDeliver = new Set<Generation>();
  readonly #work = { steps: 0, passes: 0 };
  /** Called with false when the loop ends before their turn. */
  readonly #exclusive: ((run: boolean) => Promise<void>)[] = [];
  #arrivals = 0;
  #failures = 0;
  #disposed = false;
  #wake: (() => void) | undefined;
  readonly #loop: Promise<void>;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { context, memory, streams, log } = options;
    this.#context = context;
    const firstPosition = (sequence: number) => context.firstPosition(sequence);
    const cuts = new Cuts({ memory, streams, firstPosition });
    this.#sequences = new Sequences(context, options.sequences, { reuse: options.prefixCache, cuts });
    const sequences = this.#sequences.all;
    this.#checkpoints = new Checkpoints({ context, sequences, maxBytes: options.checkpointBytes, log });
    this.#buffers = options.context.buffers();
    this.#batch = new Batch(this.#buffers);
    this.#budget = new PrefillBudget(options.itlTargetMs, this.#batch.capacity);
    this.#loop = this.#run();
  }

  submit(request: GenerationRequest): AsyncIterable<GenerationEvent> {
    const generation: Generation = new Generation(
      request,
      this.#arrivals++,
      this.#options.vocabulary,
      () => this.#wakeUp(),
      () => this.#cancel(generation, new Error("the events were abandoned")),
    );
    if (this.#disposed) generation.fail(stopped());
    else if (request.signal.aborted) generation.fail(request.signal.reason);
    else this.#enqueue(generation);
    return generation.events;
  }

  /** Runs `work` between two steps: nothing else touches the context meanwhile. @throws what it throws; Failure draining after dispose() */
  exclusively<T>(work: (sequences: Sequences) => Promise<T>): Promise<T> {
    if (this.#disposed) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      this.#exclusive.push(async (run) => (run ? work(this.#sequences).then(resolve, reject) : reject(stopped())));
      this.#wakeUp();
    });
  }

  /** Generations that have a sequence. */
  get running(): number {
    return this.#sequences.running;
  }
  /** Generations that wait for one. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get work(): DecodeWork {
    return { ...this.#work };
  }

  slots(): SlotInfo[] {
    return this.#sequences.all.map((sequence) => sequence.describe());
  }

  /** Fails every request, waits for the running step and frees nothing: the context is its owner's. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    for (const generation of this.#unfinished()) generation.fail(stopped());
    this.#wakeUp();
    await this.#loop;
  }

  #enqueue(generation: Generation): void {
    this.#waiting.add(generation);
    const { signal } = generation.request;
    const onAbort = () => this.#cancel(generation, signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    generation.onEnd = () => signal.removeEventListener("abort", onAbort);
    this.#wakeUp();
  }

  /** A waiting request is gone at once; a running one gives its place back before the next step. */
  #cancel(generation: Generation, reason: unknown): void {
    this.#waiting.delete(generation);
    generation.fail(reason);
    this.#wakeUp();
  }

  async #run(): Promise<void> {
    while (!this.#disposed) {
      this.#retire();
      const work = this.#exclusive.shift();
      if (work) {
        await work(true);
        continue; // meanwhile requests may have come and clients left
      }
      this.#assign();
      if (this.#checkpoints.pending) {
        await this.#checkpoints.loadPending();
        continue;
      }
      this.#batch.plan(this.#sequences.all, {
        prefillTokens: this.#budget.tokens,
        gap: this.#options.gap,
        equalChunks: this.#options.streams || this.#options.memory.recurrent,
        contextTokens: this.#options.contextTokens,
      });
      if (this.#batch.count > 0) await this.#step();
      else await this.#idle();
    }
    for (const work of this.#exclusive) await work(false);
    this.#retire();
  }

  /** Nothing to decode: delivers what is left, then waits for a request, a cancel or a reader that caught up. */
  async #idle(): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#deliver();
    await woken;
  }

  async #step(): Promise<void> {
    const began = performance.now();
    const running = this.#context.step(this.#batch.count);
    this.#deliver();
    try {
      await running;
    } catch (error) {
      this.#failStep(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#failures = 0;
    this.#budget.observe(this.#batch.decoding, this.#batch.prefillTokens, performance.now() - began);
    if (this.#batch.decoding > 0) {
      this.#work.steps++;
      this.#work.passes += this.#batch.decodePasses;
    }
    this.#collect();
    await this.#checkpoints.saveReached(this.#batch.entries.map(({ sequence }) => sequence));
  }

  /** Takes the step's result: cache lengths first, then every sampled token. */
  #collect(): void {
    for (const { sequence, generation, tokens } of this.#batch.entries) {
      this.#recordTokens(sequence, generation, tokens);
      if (!generation.prefilling && generation.request.maxTokens === 0) {
        generation.finishAfterPrompt();
        this.#toDeliver.add(generation);
      }
    }
    for (const sequence of this.#batch.fillers) this.#sequences.dropTail(sequence);
    let sampled = 0;
    for (const [output, { generation, scored }] of this.#batch.outputs.entries()) {
      if (!scored) sampled++;
      if (!generation.ended) this.#take(generation, output, scored);
    }
    this.#options.heartbeat.step(sampled);
  }

  #take(generation: Generation, output: number, scored: boolean): void {
    const { logprobs, promptLogprobs } = generation.request;
    const { specialPieces } = this.#options.vocabulary;
    const count = scored ? promptLogprobs : logprobs;
    const token = this.#buffers.sampled[output]!;
    this.#toDeliver.add(generation);
    if (token < 0) {
      this.#failSampling(generation);
      return;
    }
    const score = count === undefined ? undefined : readLogprobs(this.#buffers, specialPieces, output, count);
    if (!scored) generation.accept(token, score);
    else if (score) generation.score(score);
  }

  /** Only this request: its neighbours' tokens are as good as ever. */
  #failSampling(generation: Generation): void {
    const failure = this.#context.samplingFailure(generation.sequence!.id)!;
    const { code, message } = failure;
    if (code === "SAMPLING_FAILED") this.#options.log.error({ code, why: message }, "a request could not be sampled");
    generation.fail(samplingFailure(failure, generation.request.sampler));
  }

  #recordTokens(sequence: Sequence, generation: Generation, tokens: number): void {
    if (!generation.prefilling) {
      sequence.append(generation.lastToken);
      return;
    }
    for (let i = 0; i < tokens; i++) sequence.append(generation.request.prompt[generation.evaluated++]!);
    if (generation.request.reportProgress) this.#toDeliver.add(generation);
  }

  #deliver(): void {
    for (const generation of this.#toDeliver) {
      try {
        generation.deliver();
      } catch (cause) {
        generation.fail(new Failure("generation_failed", "The engine could not read the answer.", { cause }));
        this.#options.log.error({ err: cause }, "an answer could not be read");
      }
    }
    this.#toDeliver.clear();
  }

  /** Frees the places of requests that are finished or gone. Only between steps. */
  #retire(): void {
    for (const { generation } of this.#sequences.all) {
      if (!generation || !(generation.finished || generation.ended)) continue;
      this.#sequences.release(generation);
      generation.over();
    }
  }

  #assign(): void {
    for (const generation of this.#waiting) {
      try {
        const assigned = this.#sequences.assign(generation);
        if (assigned === "later") continue;
        if (!assigned) break;
      } catch (cause) {
        generation.fail(new Failure("generation_failed", "The engine could not start the request.", { cause }));
        this.#options.log.error({ err: cause }, "a request could not be started");
      }
      this.#waiting.delete(generation);
    }
  }

  /** Only the requests of the failed step fail; their sequences are emptied before the next one. */
  #failStep(cause: Error): void {
    if (this.#disposed) return;
    this.#options.log.error({ err: cause, code: (cause as { code?: string }).code }, "a step failed");
    for (const { sequence, generation } of this.#batch.entries) {
      generation.fail(new Failure("generation_failed", "The engine failed while working on this request.", { cause }));
      this.#sequences.empty(sequence);
    }
    for (const sequence of this.#batch.fillers) this.#sequences.dropTail(sequence);
    if (++this.#failures === failuresUntilLost) this.#options.onLost(cause);
  }

  *#unfinished(): Iterable<Generation> {
    yield* this.#waiting;
    this.#waiting.clear();
    for (const { generation } of this.#sequences.all) if (generation) yield generation;
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
