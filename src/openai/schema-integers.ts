// Bounds of integers. llama.cpp's converter gets some one-sided bounds wrong (at least 100, at most -1), so those become two-sided;
// and it writes at most 16 digits.
import type { Members, SchemaWalk } from "./schema-walk.ts";
import type { JsonObject } from "./validate.ts";

/** 15 digits, which every JSON parser keeps exactly. */
const largest = 999_999_999_999_999;

const keywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

/** At most `minimum` and `maximum`, inclusive integers. */
export function integerBounds(walk: SchemaWalk, schema: JsonObject, pointer: string): Members {
  if (!keywords.some((name) => Object.hasOwn(schema, name))) return [];
  const least = boundOf(walk, schema, pointer, { inclusive: "minimum", exclusive: "exclusiveMinimum", side: 1 });
  const most = boundOf(walk, schema, pointer, { inclusive: "maximum", exclusive: "exclusiveMaximum", side: -1 });
  if (least === undefined && most === undefined) return [];
  const from = Math.max(least ?? -largest, -largest);
  const to = Math.min(most ?? largest, largest);
  if (from > to) {
    const name = ["minimum", "exclusiveMinimum", "maximum"].find((keyword) => Object.hasOwn(schema, keyword));
    walk.refuse(pointer, name ?? "exclusiveMaximum", `no integer of up to 15 digits is in this range`);
    return [];
  }
  const members: Members = [];
  if (least !== undefined || to < 0 || to === largest) members.push(["minimum", from]);
  if (most !== undefined || from >= 100 || from === -largest) members.push(["maximum", to]);
  return members;
}

type Side = { readonly inclusive: string; readonly exclusive: string; readonly side: 1 | -1 };

/** The innermost integer that both keywords allow; undefined when there is none of them. */
function boundOf(walk: SchemaWalk, schema: JsonObject, pointer: string, names: Side): number | undefined {
  const { inclusive, exclusive, side } = names;
  const bounds = [inclusive, exclusive].flatMap((name) => {
    const value = schema[name];
    if (value === undefined) return [];
    if (typeof value !== "number" || !Number.isFinite(value)) {
      walk.refuse(pointer, name, "expected a number");
      return [];
    }
    // Both sides count upwards from here on.
    const inward = Math.ceil(value * side);
    return [name === exclusive && inward === value * side ? inward + 1 : inward];
  });
  return bounds.length === 0 ? undefined : Math.max(...bounds) * side;
}
