// What the suite in clients.test.ts asks of every official client, and the questions that tiny-chat can answer.
import { z } from "zod";

export type Connection = {
  /** Without /v1 and without a slash at its end. */
  readonly url: string;
  readonly apiKey: string;
  readonly maxRetries: number;
  readonly temperature: number;
  readonly fetch: typeof fetch;
};

export type Client = {
  chat(question: string, signal?: AbortSignal): Promise<string>;
  /** The pieces of the answer. */
  stream(question: string, signal?: AbortSignal): AsyncIterable<string>;
  /** Offers the tool, runs what is called and sends its result back, with the client's own means. @returns the last answer */
  useTool(question: string, tool: (city: string) => string): Promise<string>;
  /** Asks for an `animal` with the client's own parser. */
  structured(question: string): Promise<unknown>;
  embed(texts: string[]): Promise<number[][]>;
};

/** Those that the suite brings about. */
export type RefusalStatus = 400 | 401 | 404 | 429 | 503;

export type ClientKind = {
  readonly name: string;
  /** Whether it knows embeddings. */
  readonly embeds: boolean;
  /** Whether its retries wait for what Retry-After says. */
  readonly honoursRetryAfter: boolean;
  connect(connection: Connection): Client;
  /** Whether this is what the client's users catch for an answer of this status. */
  isError(error: unknown, status: RefusalStatus): boolean;
};

type ErrorClass = new (...args: never[]) => Error & { readonly status: unknown };

/** The classes by which both vendors' packages, made by one generator, tell a status. */
export function isErrorOf(
  sdk: Record<
    "BadRequestError" | "AuthenticationError" | "NotFoundError" | "RateLimitError" | "InternalServerError",
    ErrorClass
  >,
): ClientKind["isError"] {
  const classes = {
    400: sdk.BadRequestError,
    401: sdk.AuthenticationError,
    404: sdk.NotFoundError,
    429: sdk.RateLimitError,
    503: sdk.InternalServerError,
  };
  return (error, status) => error instanceof classes[status] && error.status === status;
}

export const animal = z.object({ name: z.string().max(12), legs: z.int().min(2).max(8) });

export const weather = { name: "get_weather", description: "Get the weather for a city" };
export const weatherInput = z.object({ city: z.string() });
