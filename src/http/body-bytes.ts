// Counts the bytes of an answer's body as they are handed to the response; heads and chunk frames are not counted.
import type { ServerResponse } from "node:http";

const counters = new WeakMap<ServerResponse, (bytes: number) => void>();

/** @param add gets the size of each piece of the body */
export function countBodyBytes(response: ServerResponse, add: (bytes: number) => void): void {
  counters.set(response, add);
  for (const method of ["write", "end"] as const) {
    const original = response[method] as (...args: unknown[]) => unknown;
    response[method] = ((...args: unknown[]) => {
      const [piece, encoding] = args;
      if (typeof piece === "string")
        add(Buffer.byteLength(piece, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8"));
      else if (piece instanceof Uint8Array) add(piece.byteLength);
      return original.apply(response, args);
    }) as never;
  }
}

/** Of a piece that goes past the response. */
export function addBodyBytes(response: ServerResponse, bytes: number): void {
  counters.get(response)?.(bytes);
}
