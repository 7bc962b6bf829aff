// A short piece of a streamed body, framed here and written to the socket at once. Node's response makes four writes of each piece, puts
// them off to the next tick and joins them again: for an answer's tokens a sixth of all the main thread's work.
import type { ServerResponse } from "node:http";
import { addBodyBytes } from "./body-bytes.ts";

const longest = 4096;

/**
 * After the head. Whatever is not the usual case is left to Node: a long piece, a socket that still has bytes to send (so that the
 * response knows when it is drained), a response that waits for the one before it, and HTTP/1.0, which has no chunks.
 */
export function writeChunk(response: ServerResponse, piece: string | Buffer): void {
  const { socket } = response;
  const isUsual = typeof piece === "string" && piece.length <= longest && response.chunkedEncoding;
  if (!isUsual || !socket || socket.writableLength > 0) {
    response.write(piece);
    return;
  }
  const bytes = Buffer.byteLength(piece);
  addBodyBytes(response, bytes);
  socket.write(`${bytes.toString(16)}\r\n${piece}\r\n`);
}
