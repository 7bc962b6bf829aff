// The fields that the main thread shares with the health thread through one SharedArrayBuffer. Main writes, health reads.
// Imports nothing: the health thread must not pull in the program.

const states = ["loading", "ready", "draining", "error"] as const;
export type ServerState = (typeof states)[number];

// One 64-bit float a field: doubles hold milliseconds and counts exactly, and an aligned store is seen whole by the reader.
const fields = [
  "state",
  "stateSinceMs",
  "loadedOnce",
  "loadProgress",
  "beatAtMs",
  "stepAtMs",
  "tokenAtMs",
  "activeRequests",
  "queuedRequests",
  "openCalls",
  "idleSinceMs",
] as const;
type Field = (typeof fields)[number];

/** Milliseconds on a clock that all threads of the process share and that never jumps. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

export class Heartbeat {
  readonly buffer: SharedArrayBuffer;
  /** Called when the last open call is closed; only on the object that counts them. */
  onLastCallClosed: () => void = () => {};
  readonly #values: Float64Array;

  /** @param buffer the one of another thread's heartbeat; absent: a new one in state loading. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(fields.length * Float64Array.BYTES_PER_ELEMENT);
    this.#values = new Float64Array(this.buffer);
    if (buffer) return;
    this.#set("stateSinceMs", monotonicMs());
    this.beat();
  }

  get state(): ServerState {
    return states[this.#get("state")] ?? "error";
  }
  set state(state: ServerState) {
    if (state !== this.state) this.#set("stateSinceMs", monotonicMs());
    if (state === "ready") {
      this.#set("loadedOnce", 1);
      this.#set("loadProgress", 1);
      this.#set("idleSinceMs", monotonicMs());
    }
    this.#set("state", states.indexOf(state));
  }

  /** monotonicMs of when the state became what it is. */
  get stateSinceMs(): number {
    return this.#get("stateSinceMs");
  }

  /** True from the first time the state was ready, also while draining. */
  get loadedOnce(): boolean {
    return this.#get("loadedOnce") === 1;
  }

  /** 0 to 1. */
  get loadProgress(): number {
    return this.#get("loadProgress");
  }
  set loadProgress(fraction: number) {
    this.#set("loadProgress", fraction);
  }

  /** The main loop is alive now. */
  beat(): void {
    this.#set("beatAtMs", monotonicMs());
  }
  /** The engine finished a step now. @param tokens how many tokens it brought to clients. */
  step(tokens: number): void {
    const now = monotonicMs();
    this.#set("stepAtMs", now);
    if (tokens > 0) this.#set("tokenAtMs", now);
  }
  /** monotonicMs of the last beat. */
  get beatAtMs(): number {
    return this.#get("beatAtMs");
  }
  /** monotonicMs of the last step, or of the moment the engine went from idle to busy; 0 before the first. */
  get stepAtMs(): number {
    return this.#get("stepAtMs");
  }
  /** monotonicMs of the last token; 0 before the first. */
  get tokenAtMs(): number {
    return this.#get("tokenAtMs");
  }

  /** Requests that hold a sequence. */
  get activeRequests(): number {
    return this.#get("activeRequests");
  }
  /** Requests that wait for a sequence. */
  get queuedRequests(): number {
    return this.#get("queuedRequests");
  }
  /** Called by the scheduler whenever either count changes. A stall is counted from when work began, not from the step before. */
  setRequests(active: number, queued: number): void {
    if (active > 0 && this.activeRequests === 0) this.#set("stepAtMs", monotonicMs());
    this.#set("activeRequests", active);
    this.#set("queuedRequests", queued);
  }

  /** An API call with an accepted credential has arrived (CONTRACT section 7.3). */
  callOpened(): void {
    this.#set("openCalls", this.#get("openCalls") + 1);
  }
  callClosed(): void {
    this.#set("openCalls", this.#get("openCalls") - 1);
    this.#set("idleSinceMs", monotonicMs());
    if (this.openCalls === 0) this.onLastCallClosed();
  }
  /** API calls that have not got their last byte yet. */
  get openCalls(): number {
    return this.#get("openCalls");
  }
  /** 0 while a call is open or before ready, else seconds since the last one ended or since ready. */
  idleSeconds(now: number): number {
    if (this.#get("openCalls") > 0 || !this.loadedOnce) return 0;
    return (now - this.#get("idleSinceMs")) / 1000;
  }

  #get(field: Field): number {
    return this.#values[fields.indexOf(field)]!;
  }
  #set(field: Field, value: number): void {
    this.#values[fields.indexOf(field)] = value;
  }
}
