// Which browsers' pages may read the answers (CONTRACT.md section 4.4). Sets headers only and refuses nothing: it is the browser
// that keeps an answer from a page, and every other client gets the same answer with or without them.
// Own code, because @koa/cors neither checks the requested names nor says Vary to an origin that it refuses.
import type { IncomingHttpHeaders } from "node:http";
import type { Middleware } from "koa";
import type { CallState } from "./call.ts";

const maxOriginBytes = 2048;

const exposed = [
  "x-request-id",
  "request-id",
  "x-ignored-parameters",
  "retry-after",
  "retry-after-ms",
  ...["limit", "remaining", "reset"].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
].join(", ");

const defaultAllowHeaders = "Authorization, Content-Type, x-api-key, x-request-id";

/** A header name as RFC 9110 has it. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export type CorsHeaders = Readonly<Record<string, string>>;

/**
 * @param origins the entries of CORS_ORIGINS; none: CORS is off
 * @returns the headers to set on the answer to a request with these headers; none for a caller that is not allowed
 */
export function corsPolicy(origins: readonly string[]): (headers: IncomingHttpHeaders) => CorsHeaders {
  if (origins.length === 0) return () => ({});
  const all = origins.includes("*");
  const allowed = new Set(origins.map(withoutSlash));
  // What a list lets through depends on the Origin, so caches must know, also of answers that name none.
  const always: CorsHeaders = all ? {} : { Vary: "Origin" };
  return ({ origin, "access-control-request-headers": requested }) => {
    if (origin === undefined || Buffer.byteLength(origin, "latin1") > maxOriginBytes) return always;
    if (!all && !allowed.has(withoutSlash(origin))) return always;
    return {
      ...always,
      "Access-Control-Allow-Origin": all ? "*" : origin,
      "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
      "Access-Control-Allow-Headers": allowHeaders(requested),
      "Access-Control-Max-Age": "86400",
      "Access-Control-Expose-Headers": exposed,
    };
  };
}

/** Middleware around everything that answers a parsed head, refusals included. */
export function cors(origins: readonly string[]): Middleware<CallState> {
  const headersFor = corsPolicy(origins);
  return (ctx, next) => {
    ctx.set(headersFor(ctx.headers));
    return next();
  };
}

const withoutSlash = (origin: string): string => (origin.endsWith("/") ? origin.slice(0, -1) : origin);

/** The names that a preflight asks for, if each is one; else those that a client of this API needs. */
function allowHeaders(requested: string | undefined): string {
  const names = (requested ?? "").split(",").flatMap((name) => name.trim() || []);
  return names.length > 0 && names.every((name) => token.test(name)) ? names.join(", ") : defaultAllowHeaders;
}
