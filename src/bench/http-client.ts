// One streamed request to any OpenAI-compatible server, timed. Knows nothing of loads or reports.
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";

export type Target = {
  readonly url: URL;
  readonly apiKey: string | undefined;
  readonly endpoint: "chat" | "completions";
  /** Absent: a connection for each request. */
  readonly connections?: Agent;
};

export type Timed = {
  readonly outcome: "finished" | "cancelled" | "failed";
  /** Why it failed. */
  readonly problem?: string;
  /** The model that the server says answered; the mock engine's is "mock". */
  readonly model: string;
  /** From sending to the first content; 0 when there was none. */
  readonly ttftMs: number;
  /** Between the contents that followed. */
  readonly gapsMs: readonly number[];
  /** From the first content to the last, for each token after the first: contents may hold several. */
  readonly perTokenMs: number;
  readonly totalMs: number;
  /** As the server counts them. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
};

export type Ask = {
  readonly prompt: string;
  readonly maxTokens: number;
  /** Go on past end tokens, so that every answer has maxTokens. A field of llama-server's that this server shares. */
  readonly ignoreEos: boolean;
  /** Leave after this many contents. */
  readonly cancelAfter?: number;
  /** Called once, with the first content. */
  readonly onFirst?: () => void;
};

/** Connections that stay open between requests. Not beyond a load: the server would close them when a later one takes them. */
export const keptConnections = () => new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

function bodyOf({ endpoint }: Target, { prompt, maxTokens, ignoreEos }: Ask): string {
  const common = {
    model: "bench",
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0,
    max_tokens: maxTokens,
    ...(ignoreEos && { ignore_eos: true }),
  };
  const messages = [{ role: "user", content: prompt }];
  return JSON.stringify(endpoint === "chat" ? { ...common, messages } : { ...common, prompt });
}

function open(target: Target, body: string): Promise<IncomingMessage> {
  const path = target.endpoint === "chat" ? "chat/completions" : "completions";
  const url = new URL(`v1/${path}`, target.url);
  const secure = url.protocol === "https:";
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...(target.apiKey && { authorization: `Bearer ${target.apiKey}` }),
  };
  return new Promise((resolve, reject) => {
    const options = { method: "POST", headers, ...(!secure && { agent: target.connections ?? false }) };
    let isAnswered = false;
    const call = (secure ? httpsRequest : httpRequest)(url, options, (response) => {
      isAnswered = true;
      resolve(response);
    });
    call.on("error", (error: NodeJS.ErrnoException) => {
      // The server has closed a connection that stood idle just when it was taken: no answer to this request.
      const closedBefore = !isAnswered && call.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      if (closedBefore) resolve(open(target, body));
      else reject(error);
    });
    call.end(body);
  });
}

/** Never throws: what goes wrong is the outcome. */
export async function timeRequest(target: Target, ask: Ask): Promise<Timed> {
  const record = new Recorder(ask.onFirst);
  try {
    const response = await open(target, bodyOf(target, ask));
    if (response.statusCode !== 200) return record.failed(`status ${response.statusCode}: ${await textOf(response)}`);
    return await readEvents(response, record, ask);
  } catch (error) {
    return record.failed(error instanceof Error ? error.message : String(error));
  }
}

async function readEvents(response: IncomingMessage, record: Recorder, { cancelAfter }: Ask): Promise<Timed> {
  const lines = createInterface({ input: response });
  // The loop is told of a lost connection while it runs. Once the outcome is known it changes nothing, and must not be unhandled.
  lines.on("error", () => {});
  try {
    for await (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") return record.finished();
      const problem = record.event(JSON.parse(line.slice("data: ".length)));
      if (problem !== undefined) return record.failed(problem);
      if (record.contents === cancelAfter) {
        response.destroy();
        return record.cancelled();
      }
    }
    return record.failed("the stream ended without [DONE]");
  } finally {
    // To the end of the body, so that the connection can be used again.
    response.resume();
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return text.slice(0, 200);
}

type StreamEvent = {
  readonly model?: string;
  readonly error?: { readonly message?: string };
  readonly choices?: readonly { readonly text?: string; readonly delta?: Readonly<Record<string, unknown>> }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  } | null;
};

class Recorder {
  contents = 0;
  readonly #began = performance.now();
  readonly #gaps: number[] = [];
  #first = 0;
  #last = 0;
  #usage: StreamEvent["usage"];
  #model = "";
  readonly #onFirst: (() => void) | undefined;

  constructor(onFirst: (() => void) | undefined) {
    this.#onFirst = onFirst;
  }

  /** @returns what the server says went wrong, if it does */
  event({ model, error, choices, usage }: StreamEvent): string | undefined {
    if (error) return error.message ?? "an error event";
    this.#model = model ?? this.#model;
    this.#usage = usage ?? this.#usage;
    if (choices?.some(({ text, delta }) => text || Object.values(delta ?? {}).some(isContent))) this.#content();
    return undefined;
  }

  finished(): Timed {
    if (!this.#usage) return this.failed("the stream reported no usage");
    return this.#result("finished");
  }
  cancelled(): Timed {
    return this.#result("cancelled");
  }
  failed(problem: string): Timed {
    return { ...this.#result("failed"), problem };
  }

  #content(): void {
    const now = performance.now();
    if (this.contents === 0) this.#first = now;
    else this.#gaps.push(now - this.#last);
    this.#last = now;
    this.contents++;
    if (this.contents === 1) this.#onFirst?.();
  }

  #result(outcome: Timed["outcome"]): Timed {
    const completionTokens = this.#usage?.completion_tokens ?? 0;
    return {
      outcome,
      model: this.#model,
      ttftMs: this.contents > 0 ? this.#first - this.#began : 0,
      gapsMs: this.#gaps,
      perTokenMs: completionTokens > 1 ? (this.#last - this.#first) / (completionTokens - 1) : 0,
      totalMs: performance.now() - this.#began,
      promptTokens: this.#usage?.prompt_tokens ?? 0,
      cachedTokens: this.#usage?.prompt_tokens_details?.cached_tokens ?? 0,
      completionTokens,
    };
  }
}

/** The role of a first chunk is a string too, but no content. */
const isContent = (value: unknown) =>
  (typeof value === "string" && value !== "" && value !== "assistant") || Array.isArray(value);
