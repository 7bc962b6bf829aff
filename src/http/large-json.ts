// JSON.stringify for answers that may be large: in slices, between which the event loop turns. The text is the same.
import { setImmediate as nextTurn } from "node:timers/promises";

/** Elements of a long array that are written in one go; with 20 alternatives each about half a millisecond. */
const sliceLength = 256;

/** Deeper than where long arrays are. */
const maxDepth = 6;

/** @param value of plain objects, arrays, strings, finite numbers, booleans and null; undefined members are left out */
export async function stringifyInTurns(value: unknown): Promise<string> {
  let text = "";
  for (const piece of pieces(value, 0)) {
    if (piece === null) await nextTurn();
    else text += piece;
  }
  return text;
}

/** Null: enough for one turn of the loop. */
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
