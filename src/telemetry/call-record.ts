// What one call did, noted while it is answered, each thing once: for the counters, the metrics and its line in the access log.
// Called for every token, so delta() does next to nothing.
import { performance } from "node:perf_hooks";
import type { Failure } from "../errors.ts";
import type { AccessRecord } from "./access-line.ts";
import type { FinishReason, Metrics, PhaseTimes, Stage, TokenCounts } from "./metrics.ts";
import { rejectionOf } from "./rejections.ts";

/** What the access log says of the work on a call. */
export type WorkRecord = Omit<AccessRecord, "time" | "method" | "path" | "status" | "requestId">;

const monotonic = () => performance.now();

export class CallRecord {
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #arrivedMs: number;
  #keyId: string | null = null;
  #error: Failure | null = null;
  #stream = false;
  #stage: Stage | "outside" = "outside";
  #queueMs: number | null = null;
  #ttftMs: number | null = null;
  /** When each choice's last delta came. */
  readonly #deltaMs: number[] = [];
  #finishReason: "stop" | "length" | "tool_calls" | null = null;
  #tokens: TokenCounts | null = null;
  #onComputed: () => void = () => {};

  /** @param now milliseconds on a clock that never jumps */
  constructor(metrics: Metrics, now: () => number = monotonic) {
    this.#metrics = metrics;
    this.#now = now;
    this.#arrivedMs = now();
  }

  /** When the work on the call began: it left the queue, or never needed one. Milliseconds of performance.now(). */
  get workBeganMs(): number {
    return this.#arrivedMs + (this.#queueMs ?? 0);
  }

  /** The credential was accepted. */
  identified(keyId: string): void {
    this.#keyId = keyId;
  }

  /** An engine call is ready to run and waits for its first sequence. @param stream whether its answer is one */
  joinedQueue(stream: boolean): void {
    this.#stream = stream;
    this.#stage = "queued";
  }

  /** The call has its first sequence, or needs none. The second and later times count nothing. @param waitMs time in the queue */
  leftQueue(waitMs: number): void {
    if (this.#queueMs !== null) return;
    this.#queueMs = waitMs;
    this.#metrics.counters.requestsTotal += 1;
    this.#metrics.counters.queueWaitSeconds += waitMs / 1000;
    if (this.#keyId !== null) this.#metrics.keyRequest(this.#keyId);
    if (this.#stage === "outside") return;
    if (this.#stage === "queued") this.#stage = "prefill";
    this.#metrics.leftQueue(waitMs / 1000);
  }

  /** A piece of this choice's answer came from the engine. */
  delta(choice: number): void {
    const now = this.#now();
    const before = this.#deltaMs[choice];
    if (before === undefined) this.#firstDelta(now);
    else this.#metrics.tokenGap((now - before) / 1000);
    this.#deltaMs[choice] = now;
  }

  /** The reader was too slow for a while: how long the next piece takes says nothing about the engine. */
  readerCaughtUp(choice: number): void {
    this.#deltaMs[choice] = this.#now();
  }

  /** One choice is complete. */
  finished(reason: "stop" | "length" | "tool_calls", timings: PhaseTimes & { readonly queueMs: number }): void {
    this.leftQueue(timings.queueMs);
    this.#finishReason = this.#finishReason === "length" ? "length" : reason;
    this.#metrics.answerGenerated(timings);
  }

  /** Nothing is computed for the call any more, however it ended. The first time counts. @param tokens of all choices, each prompt once */
  generated(tokens: TokenCounts): void {
    if (this.#tokens) return;
    this.#tokens = tokens;
    this.#metrics.tokens(tokens);
    if (this.#keyId !== null) this.#metrics.keyTokens(this.#keyId, tokens);
    this.#onComputed();
  }

  /** Calls back once it is known what was computed: now, or, when the client left the engine at work, a step later. */
  whenComputed(callback: () => void): void {
    const atWork = this.#tokens === null && (this.#stage === "prefill" || this.#stage === "decode");
    if (atWork) this.#onComputed = callback;
    else callback();
  }

  /** The client was told this failure, in its answer or as its stream's last event. The first one counts. */
  failed(failure: Failure): void {
    if (this.#error) return;
    this.#error = failure;
    const { counters } = this.#metrics;
    if (failure.status === 401 || failure.status === 429) counters.requestsUnauthorized += 1;
    const reason = rejectionOf(failure);
    if (reason === undefined) return;
    this.#metrics.rejected(reason);
    if (reason.startsWith("queue")) counters.queueRejections += 1;
  }

  /**
   * The answer to an accepted call has ended. A client that left counts as neither success nor error, a call that never left the
   * queue as nothing.
   * @param complete false: the client left before the last byte
   */
  ended(status: number, complete: boolean): void {
    // Any 5xx but 503 and 529 (503 as Anthropic says it) comes from work on the call, also before it could leave the queue.
    if (status >= 500 && status !== 503 && status !== 529) this.leftQueue(0);
    this.#countEnd(complete);
    if (this.#queueMs === null || !complete) return;
    if ((this.#error && status < 300) || status >= 500) this.#metrics.counters.requestsError += 1;
    else this.#metrics.counters.requestsSuccess += 1;
  }

  describe(complete: boolean): WorkRecord {
    return {
      keyId: this.#keyId,
      promptTokens: this.#tokens?.promptTokens ?? null,
      cachedTokens: this.#tokens?.cachedTokens ?? null,
      completionTokens: this.#tokens?.completionTokens ?? null,
      finishReason: this.#error ? null : this.#finishReason,
      error: this.#error?.toErrorObject().code ?? (complete ? null : "client_closed_request"),
      queueMs: this.#stage === "outside" ? null : this.#queueMs,
      ttftMs: this.#ttftMs,
      durationMs: this.#now() - this.#arrivedMs,
    };
  }

  #firstDelta(now: number): void {
    this.#stage = "decode";
    if (this.#ttftMs !== null) return;
    this.#ttftMs = now - this.#arrivedMs;
    this.#metrics.firstToken(this.#ttftMs / 1000, this.#stream);
  }

  /** Of calls that reached the queue: how they were over. */
  #countEnd(complete: boolean): void {
    const stage = this.#stage;
    if (stage === "outside") return;
    const left = !complete && !this.#error;
    if (left) this.#metrics.cancelled(stage);
    if (stage === "queued") return;
    const seconds = this.#error || left ? undefined : (this.#now() - this.#arrivedMs) / 1000;
    this.#metrics.finished(this.#endReason(left), seconds);
  }

  #endReason(left: boolean): FinishReason {
    if (this.#error) return this.#error.kind === "request_timeout" ? "timeout" : "error";
    return left ? "cancelled" : (this.#finishReason ?? "stop");
  }
}
