// The health thread's program: answers probes on PORT_HEALTH from the shared heartbeat alone, also while the main thread is blocked.
// It imports Node and heartbeat.ts only, never waits for the main thread, and so never uses console (which does).
import { writeSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { parentPort, workerData } from "node:worker_threads";
import { Heartbeat, monotonicMs } from "./heartbeat.ts";

export type ListenerOptions = {
  readonly host: string;
  /** 0 = any free port; the message "listening" names the one taken. */
  readonly port: number;
  readonly heartbeat: SharedArrayBuffer;
  /** LIVENESS_STALL_SECONDS. */
  readonly livenessStallSeconds: number;
  /** Total time a client has for a request head. */
  readonly headTimeoutMs: number;
  /** monotonicMs at which the process started. */
  readonly startedAtMs: number;
};

export type ListenerMessage =
  | { readonly type: "listening"; readonly port: number }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

/** One answer; without a body it is the empty 200 that any path outside the table gets. */
type Answer = { readonly status: number; readonly body?: Readonly<Record<string, unknown>> };
type Probe = (heartbeat: Heartbeat, now: number, stallSeconds: number) => Answer;

const pass = (reason: string): Answer => ({ status: 200, body: { status: "ok", reason } });
const fail = (reason: string): Answer => ({ status: 503, body: { status: "unavailable", reason } });
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const livez: Probe = (heartbeat, now, stallSeconds) => {
  const beatAge = now - heartbeat.beatAtMs;
  if (beatAge > stallSeconds * 1000) return fail(`the main thread has not answered for ${seconds(beatAge)}`);
  const stepAge = now - heartbeat.stepAtMs;
  if (heartbeat.activeRequests > 0 && stepAge > stallSeconds * 1000) {
    return fail(`requests are running and the engine has made no step for ${seconds(stepAge)}`);
  }
  return pass("the main thread answers and the engine is not stalled");
};

const readyz: Probe = (heartbeat) => {
  const state = heartbeat.state;
  return state === "ready" ? pass("state is ready") : fail(`state is ${state}`);
};

const startupz: Probe = (heartbeat) =>
  heartbeat.loadedOnce ? pass("the model has been loaded") : fail("the model has not been loaded yet");

function status(heartbeat: Heartbeat, now: number, startedAtMs: number): Answer {
  const age = (atMs: number) => Math.max(0, Math.round(now - atMs));
  const body = {
    state: heartbeat.state,
    loadProgress: heartbeat.loadProgress,
    uptimeSeconds: Math.floor((now - startedAtMs) / 1000),
    heartbeatAgeMs: age(heartbeat.beatAtMs),
    activeRequests: heartbeat.activeRequests,
    queuedRequests: heartbeat.queuedRequests,
    lastTokenAgeMs: heartbeat.tokenAtMs === 0 ? null : age(heartbeat.tokenAtMs),
    idleSeconds: Math.round(heartbeat.idleSeconds(now) * 10) / 10,
  };
  return { status: 200, body };
}

const probes: Readonly<Record<string, Probe>> = { "/livez": livez, "/readyz": readyz, "/startupz": startupz };

/** The path that routes: without its query and without one trailing slash. */
function routePath(url: string): string {
  const path = url.split("?", 1)[0]!;
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

function send(response: ServerResponse, answer: Answer, headers: Readonly<Record<string, string>> = {}): void {
  const text = answer.body ? JSON.stringify(answer.body) : "";
  const type = answer.body ? "application/json; charset=utf-8" : "text/plain";
  const length = Buffer.byteLength(text);
  response.writeHead(answer.status, { "content-type": type, "content-length": length, ...headers });
  response.end(text);
}

/** What a broken request gets: an empty answer with its status, then the end of the connection. */
function sendRaw(socket: Duplex, code: number): void {
  const head = `HTTP/1.1 ${code} ${STATUS_CODES[code]}\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(head);
  // A client that keeps its half open must not keep the socket.
  setTimeout(() => socket.destroy(), 1000).unref();
}

function statusOfClientError(error: NodeJS.ErrnoException): number {
  if (error.code === "HPE_HEADER_OVERFLOW") return 431;
  return error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
}

function createHealthServer(options: ListenerOptions): Server {
  const heartbeat = new Heartbeat(options.heartbeat);
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      send(response, { status: 405 }, { allow: "GET, HEAD", connection: "close" });
      return;
    }
    const now = monotonicMs();
    const path = routePath(request.url ?? "/");
    if (path === "/status") send(response, status(heartbeat, now, options.startedAtMs));
    else send(response, probes[path]?.(heartbeat, now, options.livenessStallSeconds) ?? { status: 200 });
  };
  const timeouts = { headersTimeout: options.headTimeoutMs, requestTimeout: options.headTimeoutMs };
  const server = createServer(
    { ...timeouts, connectionsCheckingInterval: 250, keepAliveTimeout: 5000, requireHostHeader: false },
    handle,
  );
  server.on("checkExpectation", (_request, response) => send(response, { status: 417 }, { connection: "close" }));
  server.on("connect", (_request, socket) => sendRaw(socket, 405));
  server.on("clientError", (error, socket) => sendRaw(socket, statusOfClientError(error)));
  return server;
}

function run(options: ListenerOptions): void {
  const tell = (message: ListenerMessage) => parentPort?.postMessage(message);
  // The main thread learns of the death too, but only once it is no longer blocked.
  process.on("uncaughtExceptionMonitor", (error) => writeSync(2, `health thread died: ${error.stack}\n`));
  const server = createHealthServer(options);
  server.once("error", (error: NodeJS.ErrnoException) => {
    tell({ type: "failed", code: error.code ?? "", message: error.message });
  });
  server.listen(options.port, options.host, () => {
    tell({ type: "listening", port: (server.address() as AddressInfo).port });
  });
}

run(workerData as ListenerOptions);
