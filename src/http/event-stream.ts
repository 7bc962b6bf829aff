// One stream of server-sent events with the exact bytes of API.md section 4: head, frames, pings, end. Owns when the head goes out
// and never holds more than about 1 MiB for a slow reader. What a dialect writes is told by its StreamForm.
import type { ServerResponse } from "node:http";
import { Connection, createEventBuffer, createSession, type EventBuffer, type Session } from "better-sse";
import type { Failure } from "../errors.ts";
import { jsonInTurns } from "./large-json.ts";
import { writeChunk } from "./short-chunk.ts";

const pingAfterMs = 15_000;

/** Unsent bytes at which no more events are taken until the reader has caught up. */
const maxUnsentBytes = 1024 * 1024;

const headers = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
};

/** Calls back after a silence; restart() begins it anew. */
export type SilenceTimer = { restart(): void; stop(): void };
export type StartTimer = (ms: number, onSilence: () => void) => SilenceTimer;

/** Besides values: the comment that keeps a silent connection open, and the end of OpenAI's older streams. */
export const pingComment = Symbol(": ping");
export const doneMark = Symbol("[DONE]");

/** Text is JSON already. */
export type Frame = object | string | typeof pingComment | typeof doneMark;

/** One row of the table in API.md section 4: what a dialect writes besides the events of its answer. */
export type StreamForm = {
  /** Every event is named by the `type` of its JSON; otherwise none is. */
  readonly named: boolean;
  readonly onSilence: () => readonly Frame[];
  /** After the last event of a complete answer. */
  readonly onEnd: () => readonly Frame[];
  /** In the place of all that would have followed. */
  readonly onFailure: (failure: Failure) => readonly Frame[];
};

/** Chat, completions and infill. */
export const plainStream: StreamForm = {
  named: false,
  onSilence: () => [pingComment],
  onEnd: () => [doneMark],
  onFailure: (failure) => [{ error: failure.toErrorObject() }],
};

export type EventStreamOptions = {
  /** Aborted: nothing more is sent, and whoever waits for the reader is told the reason. */
  readonly signal: AbortSignal;
  /** Headers besides the stream's own. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly startTimer?: StartTimer;
  /** Default: plainStream. */
  readonly form?: StreamForm;
};

/** better-sse puts nothing between `data:` and the value, and many clients want the space. */
const bytes = {
  serializer: (data: unknown) => {
    if (data === doneMark) return " [DONE]";
    return ` ${typeof data === "string" ? data : JSON.stringify(data)}`;
  },
  // Compact JSON has no line breaks to be cleaned, and the names are our own.
  sanitizer: (text: string) => text,
};

function fill(buffer: EventBuffer, frame: Frame, named: boolean): void {
  if (frame === pingComment) buffer.comment(" ping").dispatch();
  else if (named)
    buffer
      .event(` ${(frame as { type: string }).type}`)
      .data(frame)
      .dispatch();
  else buffer.data(frame).dispatch();
}

export class EventStream {
  readonly #response: ServerResponse;
  readonly #signal: AbortSignal;
  readonly #form: StreamForm;
  readonly #connection: ResponseConnection;
  readonly #timer: SilenceTimer;
  #session: Promise<Session> | undefined;
  #headIsOut = false;
  /** One for all events: making one costs more than filling it. */
  readonly #buffer = createEventBuffer(bytes);

  /** The silence that leads to the first ping begins now. */
  constructor(response: ServerResponse, options: EventStreamOptions) {
    this.#response = response;
    this.#signal = options.signal;
    this.#form = options.form ?? plainStream;
    this.#connection = new ResponseConnection(response, { ...headers, ...options.headers });
    this.#timer = (options.startTimer ?? startNodeTimer)(pingAfterMs, () => void this.#ping());
  }

  /** The head is out or about to be: from now on a failure is an event. */
  get begun(): boolean {
    return this.#session !== undefined;
  }

  /**
   * Writes one event, then waits while the reader is too slow.
   * @param large it may be so large that it is to be written in turns of the loop
   * @param data text is JSON already, of an event without a name
   * @returns whether it had to wait for the reader; a promise only where there is something to wait for, as there are many events
   * @throws the signal's reason
   */
  send(data: object | string, large = false): false | Promise<boolean> {
    if (large || !this.#headIsOut) return this.#sendLater(data, large);
    this.#signal.throwIfAborted();
    this.#put([data]);
    return this.#isBehind && this.#caughtUp();
  }

  async #sendLater(data: object | string, large: boolean): Promise<boolean> {
    this.#signal.throwIfAborted();
    if (large) await this.#writeInTurns(data);
    else await this.#write([data]);
    return this.#isBehind && this.#caughtUp();
  }

  get #isBehind(): boolean {
    return this.#response.writableLength >= maxUnsentBytes;
  }

  /** The normal end. */
  async done(): Promise<void> {
    await this.#write(this.#form.onEnd());
    this.close();
  }

  /** The end after a failure: what was sent stands. */
  async fail(failure: Failure): Promise<void> {
    await this.#write(this.#form.onFailure(failure));
    this.close();
  }

  /** Ends the response if its head is out, and the timer. Idempotent; also for a stream that never began. */
  close(): void {
    this.#timer.stop();
    this.#connection.close();
  }

  async #ping(): Promise<void> {
    // A reader that is behind gets enough bytes as it is.
    if (!this.#response.writableNeedDrain) await this.#write(this.#form.onSilence());
    else this.#timer.restart();
  }

  async #write(frames: readonly Frame[]): Promise<void> {
    if (!this.#headIsOut) await this.#open();
    this.#put(frames);
  }

  /** After the head. Session.batch() would do the same, for a promise each time. */
  #put(frames: readonly Frame[]): void {
    if (this.#connection.closed) return;
    this.#timer.restart();
    this.#buffer.clear();
    for (const frame of frames) fill(this.#buffer, frame, this.#form.named);
    this.#connection.sendChunk(this.#buffer.read());
  }

  /** The bytes that #write() would write; they are made in turns, and go out together. */
  async #writeInTurns(data: object | string): Promise<void> {
    const slices = typeof data === "string" ? [data] : await jsonInTurns(data);
    if (!this.#headIsOut) await this.#open();
    if (this.#connection.closed) return;
    this.#timer.restart();
    const name = this.#form.named ? `event: ${(data as { type: string }).type}\n` : "";
    for (const piece of [`${name}data: `, ...slices, "\n\n"]) this.#connection.sendChunk(piece);
  }

  /** Sends the head. better-sse does so one turn of the loop later, so everybody waits for the same promise. */
  async #open(): Promise<void> {
    this.#session ??= createSession(this.#connection, { retry: null, keepAlive: null, trustClientEventId: false });
    await this.#session;
    this.#headIsOut = true;
  }

  async #caughtUp(): Promise<boolean> {
    const response = this.#response;
    if (response.destroyed) return false;
    await new Promise<void>((resolve) => {
      const settle = () => {
        response.off("drain", settle).off("close", settle);
        this.#signal.removeEventListener("abort", settle);
        resolve();
      };
      response.on("drain", settle).on("close", settle);
      this.#signal.addEventListener("abort", settle);
    });
    this.#signal.throwIfAborted();
    return true;
  }
}

/** Why a connection's signal is aborted. Without a reason Node makes an error with a stack each time. */
const over = new Error("the stream is over");

/**
 * better-sse's own connection writes to the response too, but it answers query parameters with padding, sends headers of its own
 * and cannot end the response.
 */
class ResponseConnection extends Connection {
  readonly url = new URL("http://localhost/");
  readonly request: Request;
  readonly response = new Response();
  readonly #out: ServerResponse;
  readonly #headers: Readonly<Record<string, string>>;
  /** What better-sse takes for the end of the connection: the client's leaving as well as our own end. */
  readonly #over = new AbortController();
  /** The same, without a getter to go through for every token. */
  closed = false;

  constructor(out: ServerResponse, headers: Readonly<Record<string, string>>) {
    super();
    this.#out = out;
    this.#headers = headers;
    this.request = new Request(this.url, { signal: this.#over.signal });
  }

  sendHead(): void {
    if (this.closed || this.#out.destroyed) return;
    this.#out.writeHead(200, this.#headers);
    this.#out.flushHeaders();
  }

  sendChunk(chunk: string | Buffer): void {
    if (chunk.length > 0 && !this.closed && !this.#out.destroyed) writeChunk(this.#out, chunk);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#over.abort(over);
    // Without a head there was no stream, and the response still belongs to somebody else.
    if (this.#out.headersSent) this.#out.end();
  }

  cleanup(): void {}
}

function startNodeTimer(ms: number, onSilence: () => void): SilenceTimer {
  const timer = setTimeout(onSilence, ms);
  return { restart: () => void timer.refresh(), stop: () => clearTimeout(timer) };
}
