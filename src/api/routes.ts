// The one table of routes, and how a path finds its place in it. A route is public only where this table says so.
import type { Config } from "../config.ts";
import { chatCompletions } from "./chat-completions.ts";
import { completions } from "./completions.ts";
import { embeddings } from "./embeddings.ts";
import type { Handler } from "./handler.ts";
import { infill } from "./infill.ts";
import { countTokens, messages } from "./messages.ts";
import { metrics } from "./metrics.ts";
import { getModel, listModels } from "./models.ts";
import { openapi } from "./openapi.ts";
import { health, hello, ping } from "./probes.ts";
import { props } from "./props.ts";
import { reload } from "./reload.ts";
import { applyTemplate, countChatTokens } from "./render.ts";
import { rerank } from "./rerank.ts";
import { responses } from "./responses.ts";
import { slots } from "./slots.ts";
import { detokenize, tokenize } from "./tokenize.ts";

export type Route = {
  /** HEAD works wherever GET does. */
  readonly method: "GET" | "POST";
  /** As pathnameOf() gives it; one that ends in `/*` takes every longer path, and hands the rest to the handler as `tail`. */
  readonly path: string;
  /**
   * public: nobody is asked who they are. key: any valid key. scrape: any valid key, in every state, without quotas, and no activity.
   * admin: as admin.ts says, in every state, without quotas.
   */
  readonly class: "public" | "key" | "scrape" | "admin";
  /** Needs the model to run: leaves the queue when the engine says so. Other routes never queue. */
  readonly engine?: true;
  readonly handler: Handler;
};

export const routes: readonly Route[] = [
  { method: "GET", path: "/", class: "public", handler: hello },
  { method: "GET", path: "/api/hello", class: "public", handler: hello },
  { method: "GET", path: "/ping", class: "public", handler: ping },
  { method: "GET", path: "/health", class: "public", handler: health },
  { method: "GET", path: "/metrics", class: "public", handler: metrics },
  { method: "POST", path: "/reload", class: "admin", handler: reload },
  { method: "GET", path: "/slots", class: "admin", handler: slots },
  { method: "GET", path: "/v1/models", class: "key", handler: listModels },
  { method: "GET", path: "/v1/models/*", class: "key", handler: getModel },
  { method: "GET", path: "/openapi.json", class: "key", handler: openapi },
  { method: "POST", path: "/v1/chat/completions", class: "key", engine: true, handler: chatCompletions },
  { method: "POST", path: "/v1/chat/completions/input_tokens", class: "key", handler: countChatTokens },
  { method: "POST", path: "/apply-template", class: "key", handler: applyTemplate },
  { method: "POST", path: "/v1/completions", class: "key", engine: true, handler: completions },
  { method: "POST", path: "/infill", class: "key", engine: true, handler: infill },
  { method: "POST", path: "/v1/messages", class: "key", engine: true, handler: messages },
  { method: "POST", path: "/v1/messages/count_tokens", class: "key", handler: countTokens },
  { method: "POST", path: "/v1/responses", class: "key", engine: true, handler: responses },
  { method: "POST", path: "/v1/embeddings", class: "key", engine: true, handler: embeddings },
  { method: "POST", path: "/v1/rerank", class: "key", engine: true, handler: rerank },
  { method: "POST", path: "/rerank", class: "key", engine: true, handler: rerank },
  { method: "POST", path: "/tokenize", class: "key", handler: tokenize },
  { method: "POST", path: "/detokenize", class: "key", handler: detokenize },
  { method: "GET", path: "/props", class: "key", handler: props },
];

/** The table as this configuration wants it: with METRICS_AUTH_ENABLED, /metrics is no longer public. */
export function routesFor({ metricsAuthEnabled }: Pick<Config, "metricsAuthEnabled">): readonly Route[] {
  if (!metricsAuthEnabled) return routes;
  return routes.map((route) => (route.handler === metrics ? { ...route, class: "scrape" } : route));
}

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
