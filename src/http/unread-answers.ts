// Answers that are complete but that their clients do not read: once a call's time is over, its connection is closed, for what is
// unsent is held in memory.
import type { IncomingMessage, ServerResponse } from "node:http";

const sweepEveryMs = 1000;
/** What every client gets to read its last bytes, also when the call's time is over already. */
const graceMs = 2000;

type Exchange = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** performance.now() when the call's time is over. */
  readonly deadlineMs: () => number;
  /** performance.now() when the answer was first seen complete. */
  completeMs: number | undefined;
};

/** The exchanges of one server. A timer runs only while there are any, and keeps no process alive. */
export class UnreadAnswers {
  readonly #open = new Set<Exchange>();
  #timer: NodeJS.Timeout | undefined;

  /** @returns what to call when the exchange is over */
  watch(request: IncomingMessage, response: ServerResponse, deadlineMs: () => number): () => void {
    const exchange: Exchange = { request, response, deadlineMs, completeMs: undefined };
    this.#open.add(exchange);
    this.#arm();
    return () => this.#open.delete(exchange);
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => this.#sweep(), sweepEveryMs).unref();
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const exchange of this.#open) {
      if (!exchange.response.writableEnded) continue;
      exchange.completeMs ??= now;
      if (now >= Math.max(exchange.deadlineMs(), exchange.completeMs + graceMs)) exchange.request.socket.destroy();
    }
    if (this.#open.size > 0) this.#arm();
  }
}
