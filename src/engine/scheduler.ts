// The heart of the program: repeats plan, submit, deliver, collect. While a step runs, the tokens of the one before are turned
// into events. Cancel, stop and limits take effect between steps. Knows nothing of HTTP, keys or files.
import { Failure } from "../errors.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import type { NativeContext } from "./addon.ts";
import { Batch } from "./batch.ts";
import { Checkpoints } from "./checkpoints.ts";
import { Cuts, type MemoryKind } from "./cuts.ts";
import type { DecodeWork, GenerationEvent, GenerationRequest, SlotInfo } from "./engine.ts";
import { Generation, type Vocabulary } from "./generation.ts";
import { PrefillBudget } from "./prefill-budget.ts";
import { Sequences } from "./sequences.ts";
import type { Drafts, Speculation } from "./speculation.ts";
import { StepResults } from "./step-results.ts";
import { Steps } from "./steps.ts";
import { Turns } from "./turns.ts";

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
  /** What one more compute pass costs, in tokens more in a pass; 0: sequences are never moved together (compaction.ts). */
  readonly passTokens: number;
  /** Each sequence has a KV stream of its own (KV_LAYOUT), which rules what shares a compute pass. */
  readonly streams: boolean;
  /** Absent: one token a step of every sequence. */
  readonly speculation?: Speculation | undefined;
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
  readonly #results: StepResults;
  readonly #steps: Steps;
  readonly #turns = new Turns();
  /** Setting of the LoRA adapters that the context has. */
  #lora = "";
  readonly #waiting = new Set<Generation>();
  /** Generations that accepted a token or ended since the last delivery. */
  readonly #toDeliver = new Set<Generation>();
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
    const buffers = context.buffers();
    this.#batch = new Batch(buffers);
    this.#results = new StepResults({ ...options, buffers, sequences: this.#sequences });
    this.#budget = new PrefillBudget(options.itlTargetMs, this.#batch.capacity);
    this.#steps = new Steps({
      ...options,
      batch: this.#batch,
      sequences: this.#sequences,
      waiting: () => this.#disposed || this.#waiting.size + this.#exclusive.length > 0,
      deliver: () => this.#deliver(),
      take: (ms) => this.#take(ms),
    });
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
    return this.#steps.work;
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
      this.#sequences.moveTogether(this.#options);
      const { all } = this.#sequences;
      const sharing = this.#turns.next(all);
      const drafts = this.#options.speculation?.draft(all, sharing);
      this.#batch.plan(all, {
        sharing,
        drafts: drafts && (await this.#made(drafts)),
        prefillTokens: (...work) => this.#budget.tokens(...work),
        gap: this.#options.gap,
        equalChunks: this.#options.streams || this.#options.memory.recurrent,
        contextTokens: this.#options.contextTokens,
      });
      if (this.#batch.count > 0) await this.#step();
      // Whoever came or left while drafts were made has woken nobody.
      else if (!drafts) await this.#idle();
    }
    for (const work of this.#exclusive) await work(false);
    this.#retire();
  }

  /** Drafts may take a while: what the step before brought is delivered meanwhile. Whoever has left by then is not decoded. */
  async #made(drafts: Promise<Drafts> | Drafts): Promise<Drafts> {
    if (!(drafts instanceof Promise)) return drafts;
    this.#deliver();
    const made = await drafts;
    this.#retire();
    return made;
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
    this.#setAdapters(this.#batch.entries[0]!.generation);
    try {
      await this.#steps.run();
    } catch (error) {
      this.#failStep(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#failures = 0;
    for (const { sequence, generation } of this.#batch.entries) {
      if (generation.stops.reach(generation.evaluated)) await this.#checkpoints.save(sequence);
    }
  }

  #take(ms: number): void {
    const { decoding, prefillTokens, entries } = this.#batch;
    // A step that verifies drafts says nothing about those that do not.
    if (!entries.some(({ drafted }) => drafted > 0)) this.#budget.observe(decoding, prefillTokens, ms);
    this.#options.heartbeat.step(this.#results.take(this.#batch, this.#toDeliver));
  }

  #setAdapters({ lora, request }: Generation): void {
    if (lora === this.#lora) return;
    this.#context.setAdapters(request.loraScales ?? []);
    this.#lora = lora;
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

  /** Something changed that the next plan has to know of. */
  #wakeUp(): void {
    this.#context.hold();
    this.#wake?.();
    this.#wake = undefined;
  }
}
