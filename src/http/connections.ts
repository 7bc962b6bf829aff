// Bounds the connections to PORT. One too many is told so in JSON and closed; far too many are closed without a word, for telling
// them takes connections, too.
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { Failure } from "../errors.ts";

/** Far more than a full queue needs, and far less than breaks a process: an idle connection costs some 10 KiB. */
const maxConnections = 8192;
/** Connections that are just being told. */
const maxRefusals = 256;

const retrySeconds = 5;

/**
 * To be called before the server listens.
 * @param refuse ends a connection with this answer
 * @param most tests have fewer
 */
export function limitConnections(
  server: Server,
  refuse: (socket: Socket, failure: Failure) => void,
  most = maxConnections,
): void {
  server.maxConnections = most + maxRefusals;
  const [serve] = server.listeners("connection");
  let open = 0;
  // In the place of Node's own listener, so that no parser ever sees a connection that is one too many.
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    open += 1;
    socket.once("close", () => {
      open -= 1;
    });
    if (open <= most) return serve!.call(server, socket);
    socket.on("error", () => socket.destroy());
    refuse(socket, tooMany());
  });
}

function tooMany(): Failure {
  const message = `The server has too many open connections, try again in ${retrySeconds}s.`;
  return new Failure("queue_full", message, { headers: { "Retry-After": String(retrySeconds) } });
}
