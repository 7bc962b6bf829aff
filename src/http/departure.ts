// Notices, once per request, that its exchange is over, and whether the client left before the answer ended.
// Half-closing counts as leaving: for a client that waits without being written to, it is the only sign there is.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Reason of an aborted request signal, and what reading a body throws then. Nobody is left to answer. */
export class ClientLeft extends Error {
  constructor() {
    super("the client left before its answer ended");
    this.name = "ClientLeft";
  }
}

/** What is still under way on a connection. */
const exchanges = new WeakMap<Socket, Set<() => void>>();

/**
 * Calls back exactly once, when the last byte is out or the connection is gone.
 * @param over gets whether the answer was sent completely
 */
export function whenOver(request: IncomingMessage, response: ServerResponse, over: (complete: boolean) => void): void {
  const { socket } = request;
  const open = exchangesOf(socket);
  let sent = false;
  const finish = () => {
    // Node says so, too, of what a destroyed socket threw away.
    sent = !socket.destroyed;
  };
  const end = () => {
    response.off("close", end).off("finish", finish);
    if (open.delete(end)) over(sent);
  };
  open.add(end);
  // Before Node's own listener, which may end the connection.
  response.prependListener("finish", finish).on("close", end);
  if (response.closed || request.socket.destroyed) end();
}

/** A pipelined response whose turn has not come is not told when its connection closes, so the connection is watched, once. */
function exchangesOf(socket: Socket): Set<() => void> {
  const known = exchanges.get(socket);
  if (known) return known;
  const open = new Set<() => void>();
  exchanges.set(socket, open);
  socket.once("close", () => {
    for (const end of open) end();
  });
  return open;
}
