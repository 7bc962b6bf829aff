// Keywords that restrict values of one type, as far as llama.cpp's converter enforces them. What does not concern a node's types has
// no effect, as JSON Schema says.
import { pointerTo, SchemaProblem } from "./schema-bounds.ts";
import { integerBounds } from "./schema-integers.ts";
import { rewritePattern } from "./schema-pattern.ts";
import { isObject, type JsonType } from "./schema-types.ts";
import type { Members, Place, SchemaWalk } from "./schema-walk.ts";
import type { JsonObject } from "./validate.ts";

/** What each keyword is about. */
export const typeKeywords: ReadonlyMap<string, JsonType> = new Map([
  ["properties", "object"],
  ["required", "object"],
  ["additionalProperties", "object"],
  ["items", "array"],
  ["prefixItems", "array"],
  ["minItems", "array"],
  ["maxItems", "array"],
  ["pattern", "string"],
  ["format", "string"],
  ["minLength", "string"],
  ["maxLength", "string"],
  ["minimum", "integer"],
  ["maximum", "integer"],
  ["exclusiveMinimum", "integer"],
  ["exclusiveMaximum", "integer"],
]);

const formats: readonly unknown[] = ["date", "time", "date-time", "uuid"];

/** The node's own keywords, for all its types. */
export function keywordsOfTypes(
  walk: SchemaWalk,
  schema: JsonObject,
  types: readonly JsonType[],
  place: Place,
): Members {
  const members: Members = [];
  if (types.includes("object")) members.push(...objectKeywords(walk, schema, place));
  if (types.includes("array")) members.push(...arrayKeywords(walk, schema, place));
  if (types.includes("string")) members.push(...stringKeywords(walk, schema, place));
  if (types.includes("number")) refuseBounds(walk, schema, place, members);
  else if (types.includes("integer")) members.push(...integerBounds(walk, schema, place.pointer));
  return members;
}

/** A property of an object, and the steps from the object to its schema. */
export type Property = {
  readonly name: string;
  readonly schema: unknown;
  readonly steps: readonly (string | number)[];
};

function objectKeywords(walk: SchemaWalk, schema: JsonObject, place: Place): Members {
  const { properties, required = [], additionalProperties } = schema;
  if (properties !== undefined && !isObject(properties)) {
    walk.refuse(place.pointer, "properties", "expected an object");
    return [];
  }
  const additional = additionalOf(walk, additionalProperties, place);
  if (properties === undefined) {
    requiredOf(walk, required, new Set(), place);
    return additional === undefined ? [] : [["additionalProperties", additional]];
  }
  const list = Object.entries(properties).map(([name, inner]) => ({
    name,
    schema: inner,
    steps: ["properties", name],
  }));
  const members = objectOf(walk, list, required, place).slice(1);
  if (additional !== undefined) members.push(["additionalProperties", isNameable(list) && additional]);
  return members;
}

/**
 * The converter writes the names' characters into classes of its grammar ("any name but these") as they stand. Where one of them
 * has a meaning there, no further properties are allowed.
 */
function isNameable(properties: readonly Property[]): boolean {
  return properties.every(({ name }) => /^[\w .:$@/\u{80}-\u{10ffff}]+$/u.test(name));
}

/** An object's type, properties and required names. */
export function objectOf(walk: SchemaWalk, list: readonly Property[], required: unknown, place: Place): Members {
  const built = list.map(({ name, schema, steps }): [string, JsonObject] => {
    walk.bounds.text(name, place.pointer);
    return [name, walk.child(schema, place, ...steps)];
  });
  const names = requiredOf(walk, required, new Set(list.map(({ name }) => name)), place);
  walk.bounds.optionalProperties(list.length - names.length, pointerTo(place.pointer, "properties"));
  const members: Members = [
    ["type", "object"],
    ["properties", Object.fromEntries(built)],
  ];
  if (names.length > 0) members.push(["required", names]);
  return members;
}

function requiredOf(walk: SchemaWalk, required: unknown, names: ReadonlySet<string>, { pointer }: Place): string[] {
  if (!Array.isArray(required)) {
    walk.refuse(pointer, "required", "expected an array of names");
    return [];
  }
  const unknown = required.findIndex((name) => !names.has(name as string));
  if (unknown !== -1) walk.refuse(pointer, "required", `item ${unknown} is not among the properties`);
  return [...new Set(required as string[])].filter((name) => names.has(name));
}

/** Undefined when absent or dropped. */
function additionalOf(walk: SchemaWalk, additional: unknown, place: Place): JsonObject | boolean | undefined {
  if (additional === undefined || typeof additional === "boolean") return additional;
  if (isObject(additional)) return walk.child(additional, place, "additionalProperties");
  walk.refuse(place.pointer, "additionalProperties", "expected a boolean or a schema");
  return undefined;
}

function arrayKeywords(walk: SchemaWalk, schema: JsonObject, place: Place): Members {
  const { pointer } = place;
  const least = countOf(walk, schema, "minItems", pointer);
  const most = countOf(walk, schema, "maxItems", pointer);
  if (Object.hasOwn(schema, "prefixItems")) {
    const tuple = tupleOf(walk, schema, place, [least, most]);
    if (tuple) return [["prefixItems", tuple]];
  }
  const members: Members = [];
  // Without items nothing but the empty array is left.
  if (schema.items === false) return [["maxItems", 0]];
  if (schema.items !== undefined && schema.items !== true) {
    if (isObject(schema.items)) members.push(["items", walk.child(schema.items, place, "items")]);
    else walk.refuse(pointer, "items", "expected a schema");
  }
  members.push(...rangeOf(walk, ["minItems", least], ["maxItems", most], pointer));
  return members;
}

/** As many items as there are schemas. Undefined when it was refused and dropped. */
function tupleOf(
  walk: SchemaWalk,
  { prefixItems, items }: JsonObject,
  place: Place,
  counts: readonly (number | undefined)[],
): JsonObject[] | undefined {
  const refuse = (why: string): undefined => {
    walk.refuse(place.pointer, "prefixItems", why);
    return undefined;
  };
  if (!Array.isArray(prefixItems) || prefixItems.length === 0) return refuse("expected a non-empty array of schemas");
  if (items !== undefined && items !== false) return refuse("items beside it must be absent or false");
  if (counts.some((count) => count !== undefined && count !== prefixItems.length)) {
    return refuse("minItems and maxItems beside it must be the number of its schemas");
  }
  return prefixItems.map((item: unknown, index) => walk.child(item, place, "prefixItems", index));
}

function stringKeywords(walk: SchemaWalk, schema: JsonObject, { pointer }: Place): Members {
  const least = countOf(walk, schema, "minLength", pointer);
  const most = countOf(walk, schema, "maxLength", pointer);
  const [form] = ["pattern", "format"].filter((name) => Object.hasOwn(schema, name));
  if (form === undefined) return rangeOf(walk, ["minLength", least], ["maxLength", most], pointer);
  for (const [name, bound] of [
    ["minLength", least || undefined],
    ["maxLength", most],
  ] as const) {
    if (bound !== undefined) walk.refuse(pointer, name, `it cannot stand beside ${form}`);
  }
  if (form === "pattern") {
    if (Object.hasOwn(schema, "format")) walk.refuse(pointer, "format", "it cannot stand beside pattern");
    return patternOf(walk, schema.pattern, pointer);
  }
  if (!formats.includes(schema.format))
    walk.refuse(pointer, "format", "only date, time, date-time and uuid are enforced");
  return [["format", schema.format]];
}

function patternOf(walk: SchemaWalk, pattern: unknown, pointer: string): Members {
  if (typeof pattern !== "string") {
    walk.refuse(pointer, "pattern", "expected a string");
    return [];
  }
  try {
    const rewritten = rewritePattern(pattern, pointerTo(pointer, "pattern"), walk.bounds);
    return [rewritten === undefined ? ["maxLength", 0] : ["pattern", rewritten]];
  } catch (error) {
    if (!(error instanceof SchemaProblem) || error.kind === "too_complex") throw error;
    walk.refuse(pointer, "pattern", error.message);
    return [];
  }
}

/** A number of items or characters; undefined when absent or dropped. */
function countOf(walk: SchemaWalk, schema: JsonObject, name: string, pointer: string): number | undefined {
  const count = schema[name];
  if (count === undefined) return undefined;
  if (!Number.isInteger(count) || (count as number) < 0) {
    walk.refuse(pointer, name, "expected an integer >= 0");
    return undefined;
  }
  walk.bounds.repetition(count as number, pointerTo(pointer, name));
  return count as number;
}

type Bound = readonly [name: string, count: number | undefined];

function rangeOf(walk: SchemaWalk, least: Bound, most: Bound, pointer: string): Members {
  if (least[1] !== undefined && most[1] !== undefined && least[1] > most[1]) {
    walk.refuse(pointer, least[0], `it is larger than ${most[0]}`);
    return [];
  }
  return [least, most].flatMap(([name, count]): Members => (count === undefined ? [] : [[name, count]]));
}

/** The converter ignores them on numbers. Without `strict` they stay for the model to see. */
function refuseBounds(walk: SchemaWalk, schema: JsonObject, { pointer }: Place, members: Members): void {
  for (const name of ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]) {
    if (!Object.hasOwn(schema, name)) continue;
    walk.refuse(pointer, name, "bounds are enforced on integers only");
    if (schema.type === "number") members.push([name, schema[name]]);
  }
}
