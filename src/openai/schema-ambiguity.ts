// Alternatives that begin alike are all kept alive by a grammar until the text decides between them, and nested ones multiply: a few
// levels would stop the engine for minutes. Refuses schemas with more of that than a bound. Works on checked schemas.
import { SchemaProblem, type SchemaTotal } from "./schema-bounds.ts";
import { isObject } from "./schema-types.ts";
import type { JsonObject } from "./validate.ts";

/** Readings of one text that may be alive at once. */
const mostReadings = 256;

/** Levels of arrays and objects that are looked at; recursion makes more of them than a schema shows. */
const levels = 40;

/** Objects and arrays that begin alike. */
type Cluster = readonly JsonObject[];

/**
 * @param total what looking costs is counted there
 * @throws SchemaProblem
 */
export function refuseAmbiguous(root: JsonObject, total: SchemaTotal): void {
  const { clusters, insides } = new Alternatives(root, total).clusters();
  let readings = new Map<JsonObject, number>();
  for (let level = 0; level < levels; level++) {
    const before = readings;
    const inside = new Map<JsonObject, number>();
    for (const [container, places] of insides) {
      inside.set(container, Math.max(1, ...places.map((place) => before.get(place) ?? 1)));
    }
    readings = new Map();
    for (const [place, all] of clusters) {
      const most = Math.max(1, ...all.map((cluster) => cluster.reduce((sum, inner) => sum + inside.get(inner)!, 0)));
      if (most > mostReadings)
        throw new SchemaProblem("too_complex", "#", "The bound on nested alternatives that begin alike");
      readings.set(place, most);
    }
    if ([...readings].every(([place, count]) => before.get(place) === count)) return;
  }
}

type Clusters = {
  /** Of every place in the schema where an object or array may stand; elsewhere a text has one reading. */
  readonly clusters: ReadonlyMap<JsonObject, readonly Cluster[]>;
  /** The places in every object and array; of one that only refers to another, the other. */
  readonly insides: ReadonlyMap<JsonObject, readonly JsonObject[]>;
};

/** Finds what may stand where. */
class Alternatives {
  readonly #root: JsonObject;
  readonly #definitions: Record<string, JsonObject>;
  readonly #total: SchemaTotal;
  readonly #values = new Map<JsonObject, readonly string[] | undefined>();

  constructor(root: JsonObject, total: SchemaTotal) {
    this.#root = root;
    this.#definitions = (root.$defs ?? {}) as Record<string, JsonObject>;
    this.#total = total;
  }

  clusters(): Clusters {
    const clusters = new Map<JsonObject, readonly Cluster[]>();
    const insides = new Map<JsonObject, readonly JsonObject[]>();
    const root = this.#target(this.#root);
    const seen = new Set([root]);
    for (const place of seen) {
      const containers = new Set<JsonObject>();
      this.#collect(place, containers, new Set());
      if (containers.size > 0) clusters.set(place, this.#clustersAmong([...containers]));
      for (const container of containers) {
        if (insides.has(container)) continue;
        const places = insideOf(container).map((inner) => this.#target(inner));
        insides.set(container, places);
        for (const inner of places) seen.add(inner);
      }
    }
    return { clusters, insides };
  }

  /** What a node stands for that only refers to another; references go in no circles. */
  #target(node: JsonObject): JsonObject {
    let target = node;
    while (typeof target.$ref === "string") target = this.#definitions[target.$ref.slice("#/$defs/".length)]!;
    return target;
  }

  /** The objects and arrays that a value may be: through alternatives and references. */
  #collect(node: JsonObject, containers: Set<JsonObject>, seen: Set<JsonObject>): void {
    if (seen.has(node)) return;
    seen.add(node);
    this.#total.alternative();
    if (Array.isArray(node.anyOf)) {
      for (const inner of node.anyOf as JsonObject[]) this.#collect(this.#target(inner), containers, seen);
    }
    if (typesIn(node).some((type) => type === "object" || type === "array")) containers.add(node);
  }

  #clustersAmong(containers: readonly JsonObject[]): Cluster[] {
    const arrays = containers.filter((container) => typesIn(container).includes("array"));
    const objects = containers.filter((container) => typesIn(container).includes("object"));
    return [arrays, ...this.#objectsAlike(objects)].filter((alike) => alike.length > 0);
  }

  /** Objects are told apart by the name of their first required property, or by its value where that is fixed. */
  #objectsAlike(objects: readonly JsonObject[]): Cluster[] {
    const byName = new Map<string, JsonObject[]>();
    for (const object of objects) {
      const name = firstRequired(object);
      if (name === undefined) return [objects];
      addTo(byName, name, object);
    }
    return [...byName].flatMap(([name, alike]) => this.#byFirstValue(name, alike));
  }

  #byFirstValue(name: string, objects: JsonObject[]): Cluster[] {
    const byValue = new Map<string, JsonObject[]>();
    for (const object of objects) {
      const values = this.#fixedValues((object.properties as Record<string, JsonObject>)[name]!);
      if (!values) return [objects];
      for (const value of values) {
        this.#total.alternative();
        addTo(byValue, value, object);
      }
    }
    return [...byValue.values()];
  }

  /** As JSON; undefined when any other value may come, too. */
  #fixedValues(node: JsonObject): readonly string[] | undefined {
    if (this.#values.has(node)) return this.#values.get(node);
    const values = Object.hasOwn(node, "const") ? [node.const] : node.enum;
    const texts = Array.isArray(values) ? values.map((value) => JSON.stringify(value)) : undefined;
    this.#values.set(node, texts);
    return texts;
  }
}

function addTo<K>(lists: Map<K, JsonObject[]>, key: K, object: JsonObject): void {
  const list = lists.get(key);
  if (list) list.push(object);
  else lists.set(key, [object]);
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

/** The converter writes required properties first, in the order of the properties. */
function firstRequired(object: JsonObject): string | undefined {
  const { properties, required } = object;
  if (!isObject(properties) || !Array.isArray(required)) return undefined;
  const names = new Set(required);
  for (const name in properties) if (names.has(name)) return name;
  return undefined;
}
