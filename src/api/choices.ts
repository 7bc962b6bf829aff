// Runs all choices of one request, each as soon as it has a place, under one signal and one deadline: the client's leaving,
// REQUEST_TIMEOUT or the failure of one choice ends them all. Knows neither JSON nor dialects.
import { setMaxListeners } from "node:events";
import type { Place } from "../admission/gate.ts";
import type { Engine, GenerationEvent, GenerationRequest, Usage } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import type { ChoiceEvent } from "../openai/answer.ts";

/** A generation that still lacks its signal. */
export type ChoiceRequest = Omit<GenerationRequest, "signal">;

export type ChoiceRunOptions = {
  readonly engine: Pick<Engine, "generate">;
  readonly requests: readonly ChoiceRequest[];
  /** For the first choice; the others wait for more. Given back here, like those. */
  readonly place: Place;
  /** Aborted when the client leaves. */
  readonly client: AbortSignal;
  /** REQUEST_TIMEOUT, from now until end(). */
  readonly timeoutSeconds: number;
  /** Called once, when nothing is computed any more: what was, by choice index (GenerationRequest.onEnd). */
  readonly onOver: (computed: readonly Usage[]) => void;
};

const nothing: Usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0, reasoningTokens: 0 };

/** Why what still ran at the end did not go on. Without a reason Node makes an error with a stack for each request. */
const over = new Error("the request is over");

export class ChoiceRun {
  /** Aborted with the first cause. */
  readonly signal: AbortSignal;
  readonly #options: ChoiceRunOptions;
  readonly #controller = new AbortController();
  readonly #deadline: NodeJS.Timeout;
  readonly #leave = () => this.#controller.abort(this.#options.client.reason);
  readonly #computed: Usage[];
  /** Choices that may still compute something. */
  readonly #open: Set<number>;
  #begun = false;

  constructor(options: ChoiceRunOptions) {
    const { requests, client, timeoutSeconds } = options;
    this.#options = options;
    this.signal = this.#controller.signal;
    setMaxListeners(0, this.signal); // Each choice has its own.
    this.#computed = requests.map(() => nothing);
    this.#open = new Set(requests.keys());
    this.#deadline = setTimeout(() => this.#controller.abort(tooLate(timeoutSeconds)), timeoutSeconds * 1000);
    if (client.aborted) this.#leave();
    else client.addEventListener("abort", this.#leave, { once: true });
  }

  /**
   * Runs all choices and hands on every event, those of a choice in order. To be called once.
   * @param take its promise, where there is one, is waited for before the next event
   * @throws what a choice fails with, what `take` throws
   */
  async deliver(take: (item: ChoiceEvent) => Promise<void> | undefined): Promise<void> {
    if (this.#begun) return;
    this.#begun = true;
    const { requests } = this.#options;
    if (requests.length > 1) {
      for await (const item of merge(requests.map((request, choice) => this.#generate(request, choice))))
        await take(item);
      return;
    }
    // The usual case: no queue and no promises of its own for each event.
    for await (const event of await this.#generate(requests[0]!, 0)) {
      const taken = take({ choice: 0, event });
      if (taken) await taken;
    }
  }

  /** Ends what still runs; its places come back when the engine has let go of their sequences. To be called on every path. */
  end(): void {
    clearTimeout(this.#deadline);
    this.#options.client.removeEventListener("abort", this.#leave);
    this.#controller.abort(over);
    if (this.#begun) return;
    this.#begun = true;
    this.#options.place.release();
    for (const choice of this.#open) this.#over(choice, nothing);
  }

  async #generate(request: ChoiceRequest, choice: number): Promise<AsyncIterable<GenerationEvent>> {
    const { engine, place: first } = this.#options;
    let place: Place | undefined;
    try {
      place = choice === 0 ? first : await first.another(this.signal);
      const { release } = place;
      const onEnd = (computed: Usage) => {
        release();
        this.#over(choice, computed);
      };
      return engine.generate({ ...request, signal: this.signal, onEnd });
    } catch (error) {
      place?.release();
      this.#over(choice, nothing);
      throw error;
    }
  }

  #over(choice: number, computed: Usage): void {
    if (!this.#open.delete(choice)) return;
    this.#computed[choice] = computed;
    if (this.#open.size === 0) this.#options.onOver(this.#computed);
  }
}

/** REQUEST_TIMEOUT has passed. */
export function tooLate(seconds: number): Failure {
  return new Failure("request_timeout", `Timed out after ${seconds}s.`, { headers: { "x-should-retry": "false" } });
}

type Ready = ChoiceEvent & { readonly taken: () => void };

type Source = AsyncIterable<GenerationEvent> | Promise<AsyncIterable<GenerationEvent>>;

/**
 * The events of all choices as they come, each choice's in order. No choice is more than one event ahead of the consumer, and the
 * failure of one is thrown before anything else is handed out.
 */
export async function* merge(sources: readonly Source[]): AsyncGenerator<ChoiceEvent> {
  const ready: Ready[] = [];
  let failure: { readonly reason: unknown } | undefined;
  let open = sources.length;
  let wake = () => {};
  const pump = async (source: Source, choice: number): Promise<void> => {
    try {
      for await (const event of await source) {
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
