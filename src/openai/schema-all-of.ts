// `allOf`: llama.cpp's converter would require every property and forget the rest, so it is resolved here. One schema stands for
// itself; several must be objects with only `properties` and `required`, and become one object.
import { pointerTo } from "./schema-bounds.ts";
import { objectOf, type Property } from "./schema-keywords.ts";
import type { References } from "./schema-references.ts";
import { isObject } from "./schema-types.ts";
import type { Place, SchemaWalk } from "./schema-walk.ts";
import type { JsonObject } from "./validate.ts";

const mergeable = new Set(["type", "properties", "required", "title", "description", "default", "examples"]);
/** References that lead to references. */
const maxHops = 8;

/** Undefined when it was refused and dropped. */
export function mergeAllOf(
  walk: SchemaWalk,
  references: References,
  list: unknown,
  place: Place,
): JsonObject | undefined {
  const refuse = (why: string): undefined => {
    walk.refuse(place.pointer, "allOf", why);
    return undefined;
  };
  if (!Array.isArray(list) || list.length === 0) return refuse("expected a non-empty array of schemas");
  if (list.length === 1) return walk.child(list[0], place, "allOf", 0);
  const properties = new Map<string, Property>();
  const required: unknown[] = [];
  for (const [index, item] of list.entries()) {
    const at = pointerTo(place.pointer, "allOf", index);
    walk.bounds.node(at, place.depth + 1, place.nesting + 1);
    const component = resolve(item, references);
    if (!component) return refuse("only objects with nothing but properties and required can be combined");
    for (const [name, schema] of Object.entries((component.properties ?? {}) as JsonObject)) {
      if (properties.has(name)) return refuse(`two of its schemas describe one property`);
      properties.set(name, { name, schema, steps: ["allOf", index, "properties", name] });
    }
    required.push(...((component.required ?? []) as unknown[]));
  }
  return Object.fromEntries(objectOf(walk, [...properties.values()], required, place));
}

function resolve(item: unknown, references: References): JsonObject | undefined {
  let component = item;
  for (let hops = 0; isObject(component) && Object.hasOwn(component, "$ref"); hops++) {
    if (hops === maxHops) return undefined;
    component = references.original(component.$ref);
  }
  if (!isObject(component) || !Object.keys(component).every((name) => mergeable.has(name))) return undefined;
  const { type = "object", properties = {}, required = [] } = component;
  return type === "object" && isObject(properties) && Array.isArray(required) ? component : undefined;
}
