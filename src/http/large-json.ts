// JSON for answers that may be large: written in slices, between which the event loop turns, and sent without ever being one text.
// The bytes are those of JSON.stringify.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Context } from "./call.ts";
import { jsonType } from "./failures.ts";

/** Elements of a long array that are written in one go; with 20 alternatives each about half a millisecond. */
const sliceLength = 256;

/** Characters that make a slice by themselves. */
const sliceCharacters = 256 * 1024;

/** Deeper than where long arrays are. */
const maxDepth = 6;

/** @param value of plain objects, arrays, strings, finite numbers, booleans and null; undefined members are left out */
export function jsonInTurns(value: unknown): Promise<Buffer[]> {
  return encodeInTurns(pieces(value, 0));
}

/** @param texts null: enough for one turn of the loop */
export async function encodeInTurns(texts: Iterable<string | null>): Promise<Buffer[]> {
  const slices: Buffer[] = [];
  let text = "";
  const cut = async () => {
    slices.push(Buffer.from(text));
    text = "";
    await nextTurn();
  };
  for (const piece of texts) {
    text += piece ?? "";
    if (piece === null || text.length >= sliceCharacters) await cut();
  }
  if (text !== "") slices.push(Buffer.from(text));
  return slices;
}

/** Answers 200 with this body, and ends the response. @throws the signal's reason, if the call is to end without one */
export function answerWithSlices(ctx: Context, slices: readonly Buffer[], signal: AbortSignal): void {
  signal.throwIfAborted();
  const { res } = ctx;
  ctx.status = 200;
  ctx.type = jsonType;
  ctx.length = slices.reduce((total, slice) => total + slice.length, 0);
  ctx.respond = false;
  for (const slice of slices) res.write(slice);
  res.end();
}

function* pieces(value: unknown, depth: number): Generator<string | null> {
  if (typeof value !== "object" || value === null || depth > maxDepth) yield JSON.stringify(value);
  else if (!Array.isArray(value)) yield* membersOf(value, depth);
  else if (value.length > sliceLength) yield* slicesOf(value);
  else yield* elementsOf(value, depth);
}

function* membersOf(value: object, depth: number): Generator<string | null> {
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  yield "{";
  for (const [index, [name, member]] of members.entries()) {
    yield `${index === 0 ? "" : ","}${JSON.stringify(name)}:`;
    yield* pieces(member, depth + 1);
  }
  yield "}";
}

function* elementsOf(value: readonly unknown[], depth: number): Generator<string | null> {
  yield "[";
  for (const [index, element] of value.entries()) {
    if (index > 0) yield ",";
    yield* pieces(element, depth + 1);
  }
  yield "]";
}

function* slicesOf(value: readonly unknown[]): Generator<string | null> {
  yield "[";
  for (let begin = 0; begin < value.length; begin += sliceLength) {
    yield `${begin === 0 ? "" : ","}${JSON.stringify(value.slice(begin, begin + sliceLength)).slice(1, -1)}`;
    yield null;
  }
  yield "]";
}
