// Reads a request's body: counts the bytes while they come, bounds the time they may take, and hands out one JSON object.
// Refuses at the limit without reading on; failures.ts then closes the connection.
import type { IncomingMessage } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Config } from "../config.ts";
import { Failure } from "../errors.ts";
import type { Context } from "./call.ts";
import { type JsonObject, parseInTurns, parseJsonObject } from "./json.ts";

const largeBytes = 256 * 1024;

type BodyLimits = Pick<Config, "maxRequestBodySize" | "clientBodyTimeout">;

/**
 * The call's body as one JSON object. Call it once.
 * @throws Failure payload_too_large, client_timeout, invalid_json
 * @throws the reason of the call's signal when that is aborted before the body ended
 */
export async function readJsonObject(
  ctx: Pick<Context, "req" | "res" | "state">,
  limits: BodyLimits,
): Promise<JsonObject> {
  if (expectsContinue(ctx.req)) ctx.res.writeContinue();
  const bytes = await readBody(ctx.req, limits, ctx.state.signal);
  if (bytes.length <= largeBytes) return parseJsonObject(bytes);
  const body = await parseInTurns(bytes);
  // What is done with it takes its time, too: others get a turn in between.
  await nextTurn();
  return body;
}

/** True when the client waits for a word before it sends its body. */
function expectsContinue(request: IncomingMessage): boolean {
  return request.httpVersion === "1.1" && request.headers.expect !== undefined;
}

/** Every byte of the body. At most maxRequestBodySize bytes are held, and clientBodyTimeout seconds waited. */
export function readBody(request: IncomingMessage, limits: BodyLimits, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => settle(late(limits)), limits.clientBodyTimeout * 1000);
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limits.maxRequestBodySize) settle(tooLarge(limits));
    };
    const end = () => settle();
    const abort = () => settle(signal.reason);
    const settle = (problem?: Error) => {
      clearTimeout(timer);
      request.off("data", take).off("end", end);
      signal.removeEventListener("abort", abort);
      if (!problem) return resolve(Buffer.concat(chunks, length));
      request.pause();
      reject(problem);
    };
    request.on("data", take).on("end", end);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
  });
}

function late({ clientBodyTimeout }: BodyLimits): Failure {
  return new Failure("client_timeout", `The request body was not complete after ${clientBodyTimeout}s.`);
}

/** Also for a length that is declared and not read. */
export function tooLarge({ maxRequestBodySize }: Pick<BodyLimits, "maxRequestBodySize">): Failure {
  return new Failure("payload_too_large", `The request body is larger than ${maxRequestBodySize} bytes.`);
}
