// MOCK_BACKEND: an engine without a model. Queueing, limits, cancelling and failing are as with the real one; what it says follows
// from the prompt, or from a test's script. A token of a prompt is one byte.
import { setImmediate as nextTurn } from "node:timers/promises";
import { Failure } from "../errors.ts";
import type { Heartbeat } from "../health/heartbeat.ts";
import type {
  AnswerPart,
  ChatPrompt,
  Constraint,
  DecodeWork,
  Engine,
  GenerationEvent,
  GenerationRequest,
  ModelInfo,
  PreparedSampler,
  RenderedPrompt,
  SampledLogprob,
  Sampling,
  SlotInfo,
  SpeculationInfo,
} from "./engine.ts";
import { EventQueue } from "./event-queue.ts";
import { MockAnswer, mockText } from "./mock-answer.ts";
import { describeMock, mockTokens } from "./mock-model.ts";
import { MockVectors } from "./mock-vectors.ts";
import { plainReader } from "./parsed-reader.ts";

/** What one generation does next: a token with this text, a wait, or a failure. After the last step comes the end token. */
export type MockStep =
  | { readonly text: string; readonly kind?: "content" | "reasoning" }
  /** A token of a tool call: the first one names the function. */
  | { readonly call: number; readonly name?: string; readonly arguments: string }
  | { readonly wait: Promise<unknown> }
  | { readonly fail: unknown };

/** Called when a generation has its sequence. */
export type MockScript = (request: GenerationRequest) => Iterable<MockStep>;

export { mockTokens } from "./mock-model.ts";

export type MockEngineOptions = {
  /** Default "mock". */
  readonly name?: string;
  /** Default 16384. */
  readonly contextTokens?: number;
  /** Default 4. */
  readonly maxConcurrentRequests?: number;
  readonly heartbeat?: Heartbeat;
  /** Default: mockText. */
  readonly script?: MockScript;
  /** The chat template, as far as it is looked at; default "". */
  readonly template?: string;
  /** The model can fill in the middle. Default false. */
  readonly fim?: boolean;
  /** Answers may begin with reasoning. Default false. */
  readonly thinks?: boolean;
  /** Sees every prompt before it is rendered; what it throws is the template's refusal. */
  readonly onRender?: (prompt: ChatPrompt) => void;
  /** Sees every sampler before it is prepared; what it throws is the grammar's refusal. */
  readonly onPrepare?: (sampling: Sampling, constraint: Constraint) => void;
  /** False: no embeddings and no reranking. A function: awaited before each. Default true. */
  readonly vectors?: boolean | (() => Promise<unknown>);
};

/** Events a generation may be ahead of its reader. */
const maxAhead = 16;

/** Why a generation is over. */
type End = "finished" | "aborted" | "failed";

type Work = {
  readonly request: GenerationRequest;
  readonly events: EventQueue<GenerationEvent>;
  readonly answer: MockAnswer;
  /** Stops listening to the signal. */
  detach: () => void;
  /** Wakes the producer that waits for its reader. */
  wake: () => void;
  readonly over: PromiseWithEnd;
};

/** A promise that is also a flag. */
class PromiseWithEnd {
  ended = false;
  end: () => void = () => {};
  readonly promise = new Promise<void>((resolve) => {
    this.end = () => {
      this.ended = true;
      resolve();
    };
  });
}

export function createMockEngine(options: MockEngineOptions = {}): MockEngine {
  return new MockEngine(options);
}

export class MockEngine implements Engine {
  readonly model: ModelInfo;
  readonly backend = { llamaCpp: "none", device: "cpu" } as const;
  readonly maxConcurrentRequests: number;
  readonly embedder: MockVectors | null;
  readonly reranker: MockVectors | null;
  /** How many generations are over, by how they ended. */
  readonly ended: Record<End, number> = { finished: 0, aborted: 0, failed: 0 };
  readonly #options: MockEngineOptions;
  readonly #running = new Set<Work>();
  readonly #waiting = new Set<Work>();
  #disposed = false;

  constructor(options: MockEngineOptions) {
    this.#options = options;
    this.model = describeMock(options);
    this.maxConcurrentRequests = options.maxConcurrentRequests ?? 4;
    this.embedder = this.reranker = this.#createVectors(options);
  }

  /** Generations that hold a sequence. */
  get running(): number {
    return this.#running.size;
  }
  /** Generations that wait for one. */
  get waiting(): number {
    return this.#waiting.size;
  }

  async tokenize(text: string, addSpecial: boolean, _parseSpecial: boolean): Promise<Int32Array> {
    const bytes = [...Buffer.from(text)].map((byte) => byte + mockTokens.firstByte);
    return Int32Array.from(addSpecial ? [mockTokens.begin, ...bytes] : bytes);
  }

  async renderChat(prompt: ChatPrompt): Promise<RenderedPrompt> {
    this.#options.onRender?.(prompt);
    const { messages, tools, toolChoice, jsonSchema } = prompt;
    const lines = messages.map(({ role, content }) => `${role}: ${content}\n`);
    if (tools) lines.unshift(`tools: ${tools.map(({ name }) => name).join(" ")}\n`);
    const constrained = jsonSchema !== undefined || (tools !== undefined && toolChoice !== "none");
    const answer = { ...plainFormat, thinks: this.#options.thinks ?? false, constrained };
    const rendered = `${lines.join("")}assistant: `;
    return { text: Buffer.from(rendered), tokens: await this.tokenize(rendered, true, true), answer };
  }

  detokenize(tokens: Int32Array): Uint8Array {
    return Uint8Array.from(
      tokens.filter((token) => token >= mockTokens.firstByte).map((token) => token - mockTokens.firstByte),
    );
  }

  async prepareSampler(sampling: Sampling, constraint: Constraint): Promise<PreparedSampler> {
    this.#options.onPrepare?.(sampling, constraint);
    return { prepared: constraint };
  }

  generate(request: GenerationRequest): AsyncIterable<GenerationEvent> {
    const events = new EventQueue<GenerationEvent>(
      () => work.wake(),
      () => this.#end(work, "aborted"),
    );
    const answer = new MockAnswer(request);
    const work: Work = { request, events, answer, detach: () => {}, wake: () => {}, over: new PromiseWithEnd() };
    if (this.#disposed) this.#end(work, "failed", stopped());
    else if (request.signal.aborted) this.#end(work, "aborted", request.signal.reason);
    else this.#enqueue(work);
    return events;
  }

  speculation(): SpeculationInfo {
    return { draftedTokens: 0, acceptedTokens: 0 };
  }

  slots(): SlotInfo[] {
    const running = [...this.#running];
    return Array.from(
      { length: this.maxConcurrentRequests },
      (_, id) => running[id]?.answer.describe(id) ?? idleSlot(id),
    );
  }

  decodeWork = (): DecodeWork => ({ steps: 0, passes: 0 });

  async gpuMemory(): Promise<{ usedBytes: number; totalBytes: number }> {
    return { usedBytes: 0, totalBytes: 0 };
  }

  async keepPrefixes(): Promise<void> {}

  async dispose(): Promise<void> {
    this.#disposed = true;
    for (const work of [...this.#waiting, ...this.#running]) this.#end(work, "failed", stopped());
  }

  #createVectors({ vectors = true }: MockEngineOptions): MockVectors | null {
    if (vectors === false) return null;
    const tokenize = (text: string, addSpecial: boolean) => this.tokenize(text, addSpecial, true);
    return new MockVectors({ model: this.model, tokenize, before: vectors === true ? undefined : vectors });
  }

  #enqueue(work: Work): void {
    const { signal } = work.request;
    const onAbort = () => this.#end(work, "aborted", signal.reason);
    signal.addEventListener("abort", onAbort);
    work.detach = () => signal.removeEventListener("abort", onAbort);
    this.#waiting.add(work);
    this.#admit();
  }

  /** Hands free sequences to those who wait, first come first served. */
  #admit(): void {
    for (const work of this.#waiting) {
      if (this.#running.size >= this.maxConcurrentRequests) break;
      this.#waiting.delete(work);
      this.#running.add(work);
      work.answer.start();
      this.#produce(work).catch((error: unknown) => this.#end(work, "failed", error));
    }
  }

  /** The first cause counts. @param reason what the reader of the events is told; absent: they just end */
  #end(work: Work, how: End, reason?: unknown): void {
    if (work.over.ended) return;
    work.over.end();
    work.detach();
    work.wake();
    this.ended[how] += 1;
    if (reason === undefined) work.events.end();
    else work.events.fail(reason);
    this.#running.delete(work);
    this.#waiting.delete(work);
    work.request.onEnd?.(work.answer.computed);
    this.#admit();
  }

  async #produce(work: Work): Promise<void> {
    const { request, events, answer, over } = work;
    // Nothing happens before generate() has returned.
    await nextTurn();
    if (over.ended) return;
    for (const event of answer.aboutPrompt((token) => this.detokenize(Int32Array.of(token)))) events.push(event);
    const script = request.maxTokens === 0 ? [] : (this.#options.script ?? mockText)(request);
    for (const step of script) {
      if (over.ended || answer.complete) break;
      await this.#take(work, step);
    }
    if (over.ended) return;
    if (!answer.complete) this.#push(work, answer.endToken());
    events.push(answer.finish());
    this.#end(work, "finished");
  }

  /** One step of the script, and then a turn of the loop for everybody else. */
  async #take(work: Work, step: MockStep): Promise<void> {
    if ("fail" in step) throw step.fail;
    if ("wait" in step) await Promise.race([step.wait, work.over.promise]);
    else if ("call" in step) this.#push(work, work.answer.callToken(step.call, step.name, step.arguments));
    else this.#push(work, work.answer.token(step.text, step.kind ?? "content"));
    while (!work.over.ended && work.events.length >= maxAhead) {
      await new Promise<void>((resolve) => {
        work.wake = resolve;
      });
    }
    await nextTurn();
  }

  #push(work: Work, parts: readonly AnswerPart[]): void {
    this.#options.heartbeat?.step(1);
    const logprobs: readonly SampledLogprob[] = work.answer.takeLogprobs();
    if (parts.length > 0 || logprobs.length > 0) {
      const soFar = work.request.reportTimings && { soFar: work.answer.soFar };
      work.events.push({ type: "delta", parts, ...(logprobs.length > 0 && { logprobs }), ...soFar });
    }
  }
}

const plainFormat = { createReader: () => plainReader, preservedTokens: new Set<number>(), stop: [] };

function idleSlot(id: number): SlotInfo {
  const nothing = { promptTokens: 0, promptTokensProcessed: 0, cachedTokens: 0, decodedTokens: 0, remainingTokens: 0 };
  return { id, state: "idle", caller: null, ageMs: 0, ...nothing };
}

function stopped(): Failure {
  return new Failure("draining", "The server is shutting down.");
}
