// Answers that may be many megabytes long: written in pieces, between which the event loop turns, and sent as the client takes them.
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Context } from "./call.ts";
import { jsonType } from "./failures.ts";

/**
 * Makes the pieces, in order, the JSON of the answer.
 * @param pieces each the work of about a millisecond
 */
export async function answerInPieces(ctx: Context, pieces: Iterable<string>): Promise<void> {
  const chunks: Buffer[] = [];
  let length = 0;
  for (const piece of pieces) {
    const chunk = Buffer.from(piece);
    chunks.push(chunk);
    length += chunk.length;
    await nextTurn();
  }
  ctx.type = jsonType;
  ctx.body = Readable.from(chunks);
  ctx.length = length;
}

/**
 * The pieces of an object of one member, a text.
 * @param slices of its UTF-8; a character may be in two of them
 */
export function* textMember(name: string, slices: Iterable<Uint8Array>): Generator<string> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  yield `{"${name}":"`;
  for (const slice of slices) yield inQuotes(decoder.decode(slice, { stream: true }));
  yield `${inQuotes(decoder.decode())}"}`;
}

/** As a part of a JSON string. */
const inQuotes = (text: string) => JSON.stringify(text).slice(1, -1);
