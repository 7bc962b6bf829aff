// The one table of routes, and how a path finds its place in it. A route is public only where this table says so.
import { chatCompletions } from "./chat-completions.ts";
import { completions } from "./completions.ts";
import type { Handler } from "./handler.ts";
import { getModel, listModels } from "./models.ts";
import { health, hello, ping } from "./probes.ts";

export type Route = {
  /** HEAD works wherever GET does. */
  readonly method: "GET" | "POST";
  /** As pathnameOf() gives it; one that ends in `/*` takes every longer path, and hands the rest to the handler as `tail`. */
  readonly path: string;
  /** public: nobody is asked who they are. key: any valid key. A class "admin" comes together with its gate. */
  readonly class: "public" | "key";
  /** Needs the model to run: leaves the queue when the engine says so. Other routes never queue. */
  readonly engine?: true;
  readonly handler: Handler;
};

export const routes: readonly Route[] = [
  { method: "GET", path: "/", class: "public", handler: hello },
  { method: "GET", path: "/api/hello", class: "public", handler: hello },
  { method: "GET", path: "/ping", class: "public", handler: ping },
  { method: "GET", path: "/health", class: "public", handler: health },
  { method: "GET", path: "/v1/models", class: "key", handler: listModels },
  { method: "GET", path: "/v1/models/*", class: "key", handler: getModel },
  { method: "POST", path: "/v1/chat/completions", class: "key", engine: true, handler: chatCompletions },
  { method: "POST", path: "/v1/completions", class: "key", engine: true, handler: completions },
];

/** Every route of one path. */
export type Endpoint = { readonly routes: readonly Route[]; readonly tail: string };

/**
 * The path of a request target, as sent: without the query and one trailing slash, otherwise untouched, so that `//ping`,
 * `/PING` and `/%70ing` are other paths than `/ping`. Of an absolute target (`http://host/path`) only the path counts.
 */
export function pathnameOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "");
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path || "/";
}

/** @returns undefined when no route has that path */
export function findEndpoint(table: readonly Route[], pathname: string): Endpoint | undefined {
  const exact = table.filter((route) => route.path === pathname);
  if (exact.length > 0) return { routes: exact, tail: "" };
  const prefix = table.find(({ path }) => path.endsWith("/*") && pathname.startsWith(path.slice(0, -1)))?.path;
  if (prefix === undefined) return undefined;
  return { routes: table.filter(({ path }) => path === prefix), tail: pathname.slice(prefix.length - 1) };
}

export function findRoute({ routes }: Endpoint, method: string): Route | undefined {
  return routes.find((route) => route.method === (method === "HEAD" ? "GET" : method));
}

/** The methods of an endpoint as the Allow header lists them. */
export function methodsOf({ routes }: Endpoint): string {
  return routes.map(({ method }) => (method === "GET" ? "GET, HEAD" : method)).join(", ");
}
