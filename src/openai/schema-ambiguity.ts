// Alternatives that begin alike are all kept alive by a grammar until the text decides between them, and nested ones multiply: a few
// levels would stop the engine for minutes. Refuses schemas with more of that than a bound. Works on checked schemas.
import { SchemaProblem } from "./schema-bounds.ts";
import { isObject } from "./schema-types.ts";
import type { JsonObject } from "./validate.ts";

/** Readings of one text that may be alive at once. */
const mostReadings = 256;

/** Levels of arrays and objects that are looked at; recursion makes more of them than a schema shows. */
const levels = 40;

/** Objects and arrays that begin alike, by what is inside each. */
type Cluster = readonly (readonly JsonObject[])[];

/** @throws SchemaProblem */
export function refuseAmbiguous(root: JsonObject): void {
  const clusters = clustersOf(root);
  let readings = new Map<JsonObject, number>();
  for (let level = 0; level < levels; level++) {
    const before = readings;
    const inside = (places: readonly JsonObject[]) => Math.max(1, ...places.map((place) => before.get(place) ?? 1));
    readings = new Map();
    for (const [place, all] of clusters) {
      const most = Math.max(1, ...all.map((cluster) => cluster.reduce((sum, inner) => sum + inside(inner), 0)));
      if (most > mostReadings)
        throw new SchemaProblem("too_complex", "#", "The bound on nested alternatives that begin alike");
      readings.set(place, most);
    }
    if ([...readings].every(([place, count]) => before.get(place) === count)) return;
  }
}

/** Of every place in the schema where an object or array may stand; elsewhere a text has one reading. */
function clustersOf(root: JsonObject): Map<JsonObject, Cluster[]> {
  const definitions = (root.$defs ?? {}) as Record<string, JsonObject>;
  const clusters = new Map<JsonObject, Cluster[]>();
  const seen = new Set<JsonObject>();
  const open = [root];
  for (let place = open.pop(); place; place = open.pop()) {
    if (seen.has(place)) continue;
    seen.add(place);
    const containers = new Set<JsonObject>();
    collect(place, definitions, containers, new Set());
    if (containers.size > 0) clusters.set(place, clustersAmong([...containers]));
    for (const container of containers) for (const inner of insideOf(container)) open.push(inner);
  }
  return clusters;
}

/** The objects and arrays that a value may be: through alternatives and references. */
function collect(
  node: JsonObject,
  definitions: Record<string, JsonObject>,
  containers: Set<JsonObject>,
  seen: Set<JsonObject>,
): void {
  if (seen.has(node)) return;
  seen.add(node);
  const target = typeof node.$ref === "string" ? definitions[node.$ref.slice("#/$defs/".length)] : undefined;
  const alternatives = Array.isArray(node.anyOf) ? (node.anyOf as JsonObject[]) : [];
  for (const inner of target ? [target] : alternatives) collect(inner, definitions, containers, seen);
  if (typesIn(node).some((type) => type === "object" || type === "array")) containers.add(node);
}

const typesIn = ({ type }: JsonObject): unknown[] => (Array.isArray(type) ? type : [type]);

/** The places of values in an object or array. */
function insideOf({ properties, additionalProperties, prefixItems, items }: JsonObject): JsonObject[] {
  return [
    ...Object.values(isObject(properties) ? (properties as Record<string, JsonObject>) : {}),
    ...(isObject(additionalProperties) ? [additionalProperties] : []),
    ...(Array.isArray(prefixItems) ? (prefixItems as JsonObject[]) : []),
    ...(isObject(items) ? [items] : []),
  ];
}

function clustersAmong(containers: readonly JsonObject[]): Cluster[] {
  const arrays = containers.filter((container) => typesIn(container).includes("array"));
  const objects = containers.filter((container) => typesIn(container).includes("object"));
  return [arrays, ...objectsAlike(objects)].filter((alike) => alike.length > 0).map((alike) => alike.map(insideOf));
}

/** Objects are told apart by the name of their first required property, or by its value where that is fixed. */
function objectsAlike(objects: readonly JsonObject[]): JsonObject[][] {
  const byName = new Map<string, JsonObject[]>();
  for (const object of objects) {
    const name = firstRequired(object);
    if (name === undefined) return [[...objects]];
    byName.set(name, [...(byName.get(name) ?? []), object]);
  }
  return [...byName].flatMap(([name, alike]) => byFirstValue(name, alike));
}

function byFirstValue(name: string, objects: JsonObject[]): JsonObject[][] {
  const byValue = new Map<string, JsonObject[]>();
  for (const object of objects) {
    const first = (object.properties as Record<string, JsonObject>)[name]!;
    const values = Object.hasOwn(first, "const") ? [first.const] : first.enum;
    if (!Array.isArray(values)) return [objects];
    for (const value of values) {
      const text = JSON.stringify(value);
      byValue.set(text, [...(byValue.get(text) ?? []), object]);
    }
  }
  return [...byValue.values()];
}

/** The converter writes required properties first, in the order of the properties. */
function firstRequired({ properties, required }: JsonObject): string | undefined {
  if (!isObject(properties) || !Array.isArray(required)) return undefined;
  const names = new Set(required);
  return Object.keys(properties).find((name) => names.has(name));
}
