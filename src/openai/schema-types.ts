// Types of JSON values as JSON Schema counts them, and which of them a schema that was already checked allows.
import type { JsonObject } from "./validate.ts";

export const jsonTypes = ["object", "array", "string", "integer", "number", "boolean", "null"] as const;
export type JsonType = (typeof jsonTypes)[number];

/** What a `$ref` of a checked schema means; undefined while it is still being read. */
export type Resolver = { definition(node: JsonObject): JsonObject | undefined };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function typesOfValue(value: unknown): JsonType {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value as "object" | "string" | "boolean";
}

/** Every integer is a number. */
export function isWithin(types: readonly JsonType[], allowed: readonly JsonType[]): boolean {
  return types.every((type) => allowed.includes(type) || (type === "integer" && allowed.includes("number")));
}

/** @param node of a checked schema. All types where nothing is known. */
export function typesOf(node: JsonObject, resolver: Resolver, hops = 0): readonly JsonType[] {
  if (Array.isArray(node.anyOf)) {
    return [...new Set((node.anyOf as JsonObject[]).flatMap((inner) => typesOf(inner, resolver, hops)))];
  }
  if (Object.hasOwn(node, "const")) return [typesOfValue(node.const)];
  if (Array.isArray(node.enum)) return [...new Set(node.enum.map(typesOfValue))];
  if (typeof node.type === "string") return [node.type as JsonType];
  if (Array.isArray(node.type)) return node.type as JsonType[];
  const target = hops < maxHops && Object.hasOwn(node, "$ref") ? resolver.definition(node) : undefined;
  return target ? typesOf(target, resolver, hops + 1) : jsonTypes;
}

/** References that lead to references. */
const maxHops = 4;
