// Ends connections so that the client still gets to read its answer. Bytes that a server leaves unread when it closes make the
// kernel reset the connection, and a reset throws away the answer; so what still comes in is read and dropped, for a short while.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

const lingerMs = 2000;

/** True when the request has a body that nobody read to its end. */
export function leavesBodyUnread(request: IncomingMessage): boolean {
  const { headers, readableEnded } = request;
  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
  return hasBody && !readableEnded;
}

/** The answer will be the connection's last. To be called before its head is out. */
export function closeAfterAnswer(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  response.setHeader("Connection", "close");
  // Node calls this after the last byte of an answer that says `Connection: close`; its own version closes at once.
  socket.destroySoon = () => {
    request.resume();
    endAndLinger(socket);
  };
}

/** Sends what is left and a FIN, then waits a bounded time for the client's. @param lastWords written first */
export function endAndLinger(socket: Socket, lastWords = ""): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once("close", () => clearTimeout(timer));
  socket.end(lastWords);
  socket.resume();
}
