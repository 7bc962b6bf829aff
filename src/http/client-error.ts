// Creates the HTTP server and answers, as JSON, what Node would answer without a body or by a silent close: requests that
// are no HTTP, that come too slowly or too big, and CONNECT. Everything that has a readable head goes to the handler.
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import type { Config } from "../config.ts";
import { Failure } from "../errors.ts";
import type { Logger } from "../telemetry/log.ts";
import type { DoorWatch } from "./access-log.ts";
import { closeAfterAnswer, endAndLinger } from "./close.ts";
import { limitConnections } from "./connections.ts";
import { failureAnswer } from "./failure-answer.ts";
import { jsonType } from "./failures.ts";
import { newRequestId } from "./request-id.ts";

type HeadLimits = Pick<Config, "maxRequestLineSize" | "maxHeaderLineSize" | "clientHeaderTimeout">;

/** What Node's parser says about a request it cannot read. */
type ParserError = Error & { readonly code?: string; readonly reason?: string };

/**
 * A server that is not listening yet.
 * @param handler gets every request whose head could be read, whatever its Host or Expect
 * @param watch is told of every request that is answered here
 */
export function createHttpServer(handler: RequestListener, config: HeadLimits, log: Logger, watch: DoorWatch): Server {
  const server = createServer({
    maxHeaderSize: maxHeadSize(config),
    headersTimeout: Math.ceil(config.clientHeaderTimeout * 1000),
    requestTimeout: 0, // Whoever reads a body bounds its time; bodies nobody reads end with their connection.
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: 65_000,
    requireHostHeader: false,
    insecureHTTPParser: false,
  });
  server.maxHeadersCount = 0; // Node would drop the lines behind the limit; limits.ts counts them all.
  const door = new Door(config, log, watch);
  limitConnections(server, (socket, failure) => door.refuse(socket, failure));
  const serve: RequestListener = (request, response) => {
    // Node takes this method for an upgrade and closes the connection as soon as we return.
    if (request.method === "PRI") return door.refuseHttp2(request.socket);
    door.note(request, response);
    handler(request, response);
  };
  server.on("request", serve);
  server.on("checkContinue", serve);
  server.on("checkExpectation", serve);
  server.on("clientError", (error, socket) => door.refuseUnreadable(error, socket as Socket));
  server.on("connect", (_request, socket) => door.refuseConnect(socket as Socket));
  return server;
}

/** Node counts the request line, too. A head beyond this is 431 whatever fills it. */
function maxHeadSize({ maxRequestLineSize, maxHeaderLineSize }: HeadLimits): number {
  return Math.max(65_536, maxRequestLineSize + maxHeaderLineSize + 16_384);
}

/** Refuses on bare connections, where there is no response object or one that cannot be used. */
class Door {
  readonly #config: HeadLimits;
  readonly #log: Logger;
  readonly #watch: DoorWatch;
  readonly #latest = new WeakMap<Socket, { request: IncomingMessage; response: ServerResponse }>();
  readonly #refused = new WeakSet<Socket>();

  constructor(config: HeadLimits, log: Logger, watch: DoorWatch) {
    this.#config = config;
    this.#log = log;
    this.#watch = watch;
  }

  note(request: IncomingMessage, response: ServerResponse): void {
    this.#latest.set(request.socket, { request, response });
  }

  refuseUnreadable(error: ParserError, socket: Socket): void {
    const failure = failureOf(error, this.#config);
    if (failure && socket.writable) this.refuse(socket, failure);
    else socket.destroy();
  }

  refuseHttp2(socket: Socket): void {
    this.refuse(socket, new Failure("bad_request", "Malformed HTTP request: this server does not speak HTTP/2."));
  }

  refuseConnect(socket: Socket): void {
    socket.on("error", () => socket.destroy()); // Node has handed the socket over, its error listener is gone.
    this.refuse(socket, new Failure("bad_request", "Malformed HTTP request: this server is no proxy for CONNECT."));
  }

  /** Answers with this failure, once it is its turn, and ends the connection. */
  refuse(socket: Socket, failure: Failure): void {
    if (this.#refused.has(socket)) return; // The parser complains again about every further piece.
    this.#refused.add(socket);
    const exchange = this.#latest.get(socket);
    if (!exchange || exchange.response.closed) this.#refuseBare(socket, failure);
    else if (!exchange.request.complete) this.#refuseBody(exchange.request, exchange.response, failure);
    else exchange.response.once("close", () => this.#refuseBare(socket, failure)); // Answers keep the order of the requests.
  }

  #refuseBare(socket: Socket, failure: Failure): void {
    if (!socket.writable) return;
    const requestId = newRequestId();
    this.#log.debug({ requestId, status: failure.status }, failure.message);
    this.#watch.unreadable(failure, requestId);
    endAndLinger(socket, answerText(failure, requestId));
  }

  /** The body of a request is malformed: its own response tells, unless it already says something else. */
  #refuseBody(request: IncomingMessage, response: ServerResponse, failure: Failure): void {
    if (response.headersSent) return;
    this.#watch.malformedBody(failure, response);
    closeAfterAnswer(request, response);
    const { status, body } = failureAnswer(failure, request.url ?? "/", String(response.getHeader("x-request-id")));
    response.writeHead(status, { "Content-Type": jsonType, "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  }
}

function answerText(failure: Failure, requestId: string): string {
  // Without a readable head nobody knows which path was meant.
  const { body } = failureAnswer(failure, "/", requestId);
  const head = [
    `HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status]}`,
    `Content-Type: ${jsonType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    ...Object.entries(failure.headers).map(([name, value]) => `${name}: ${value}`),
    `Date: ${new Date().toUTCString()}`,
    "Connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

/** undefined: the connection broke, and there is nobody to answer. */
function failureOf({ code = "", reason }: ParserError, config: HeadLimits): Failure | undefined {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new Failure("client_timeout", `The request head was not complete after ${config.clientHeaderTimeout}s.`);
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    return new Failure("header_fields_too_large", `The request head is larger than ${maxHeadSize(config)} bytes.`);
  }
  if (code === "HPE_CHUNK_EXTENSIONS_OVERFLOW") {
    return new Failure("payload_too_large", "The chunk extensions of the request body are too large.");
  }
  // The reason is one of the parser's fixed sentences and holds nothing of the request.
  if (code.startsWith("HPE_"))
    return new Failure("bad_request", `Malformed HTTP request: ${reason ?? "cannot be parsed"}.`);
  return undefined;
}
