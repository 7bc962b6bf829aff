// What a route's handler is: it gets the call's context and the program's parts, and answers or throws a Failure.
// A handler never sees an anonymous call on a key route, nor an undefined engine.
import type { Context } from "../http/call.ts";
import type { Parts } from "./parts.ts";

export type { CallState, Context } from "../http/call.ts";

export type Handler = (ctx: Context, parts: Parts) => void | Promise<void>;
