// Runs all choices of one request at once, under one signal and one deadline: the client's leaving, REQUEST_TIMEOUT or the failure
// of one choice ends them all. Knows neither JSON nor dialects.
import type { Engine, GenerationEvent, GenerationRequest } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import type { ChoiceEvent } from "../openai/answer.ts";

/** A generation that still lacks its signal. */
export type ChoiceRequest = Omit<GenerationRequest, "signal">;

export class ChoiceRun {
  /** Aborted with the first cause. */
  readonly signal: AbortSignal;
  readonly events: AsyncIterable<ChoiceEvent>;
  readonly #controller = new AbortController();
  readonly #client: AbortSignal;
  readonly #deadline: NodeJS.Timeout;
  readonly #leave = () => this.#controller.abort(this.#client.reason);

  /**
   * Queues every choice at once.
   * @param client aborted when the client leaves
   * @param timeoutSeconds REQUEST_TIMEOUT, from now until end()
   */
  constructor(engine: Engine, requests: readonly ChoiceRequest[], client: AbortSignal, timeoutSeconds: number) {
    this.signal = this.#controller.signal;
    this.#client = client;
    this.#deadline = setTimeout(() => this.#controller.abort(tooLate(timeoutSeconds)), timeoutSeconds * 1000);
    if (client.aborted) this.#leave();
    else client.addEventListener("abort", this.#leave, { once: true });
    try {
      this.events = merge(requests.map((request) => engine.generate({ ...request, signal: this.signal })));
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Gives back what is still held. To be called on every path. */
  end(): void {
    clearTimeout(this.#deadline);
    this.#client.removeEventListener("abort", this.#leave);
    this.#controller.abort();
  }
}

function tooLate(seconds: number): Failure {
  return new Failure("request_timeout", `Timed out after ${seconds}s.`, { headers: { "x-should-retry": "false" } });
}

type Ready = ChoiceEvent & { readonly taken: () => void };

/**
 * The events of all choices as they come, each choice's in order. No choice is more than one event ahead of the consumer, and the
 * failure of one is thrown before anything else is handed out.
 */
export async function* merge(sources: readonly AsyncIterable<GenerationEvent>[]): AsyncGenerator<ChoiceEvent> {
  const ready: Ready[] = [];
  let failure: { readonly reason: unknown } | undefined;
  let open = sources.length;
  let wake = () => {};
  const pump = async (source: AsyncIterable<GenerationEvent>, choice: number): Promise<void> => {
    try {
      for await (const event of source) {
        await new Promise<void>((taken) => {
          ready.push({ choice, event, taken });
          wake();
        });
      }
    } catch (reason) {
      failure ??= { reason };
    }
    open -= 1;
    wake();
  };
  for (const [choice, source] of sources.entries()) void pump(source, choice);
  while (true) {
    if (failure) throw failure.reason;
    const next = ready.shift();
    if (next) {
      yield { choice: next.choice, event: next.event };
      next.taken();
    } else if (open > 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    } else return;
  }
}
