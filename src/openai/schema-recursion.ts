// Recursion through `$ref` that no value can satisfy: a reference that leads to itself without anything in between, and objects that
// must contain one of their own kind without end. Works on checked schemas, whose size is bounded.
import { SchemaProblem } from "./schema-bounds.ts";
import { isObject } from "./schema-types.ts";
import type { JsonObject } from "./validate.ts";

/** @throws SchemaProblem */
export function refuseEndless(root: JsonObject): void {
  const definitions = new Map(Object.entries((root.$defs ?? {}) as Record<string, JsonObject>));
  refuseCircles(definitions);
  const finite = new Set<string>();
  // Each round finds at least one more definition with a finite value, or none is left to be found.
  for (let before = -1; before < finite.size; ) {
    before = finite.size;
    for (const [name, node] of definitions) if (canEnd(node, finite)) finite.add(name);
  }
  if (finite.size < definitions.size) {
    throw new SchemaProblem("unsupported", "#", "a reference leads to values without end only");
  }
}

const nameOf = (reference: unknown): string => String(reference).slice("#/$defs/".length);

/** Whether some value that ends is valid. @param finite definitions of which that is known */
function canEnd(node: JsonObject, finite: ReadonlySet<string>): boolean {
  if (typeof node.$ref === "string") return finite.has(nameOf(node.$ref));
  if (Array.isArray(node.anyOf)) return node.anyOf.some((inner: JsonObject) => canEnd(inner, finite));
  const types = Array.isArray(node.type) ? node.type : [node.type];
  return types.some((type) => {
    if (type === "object") return requiredProperties(node).every((inner) => canEnd(inner, finite));
    if (type === "array") return requiredItems(node).every((inner) => canEnd(inner, finite));
    return true;
  });
}

function requiredProperties({ properties, required }: JsonObject): JsonObject[] {
  if (!isObject(properties) || !Array.isArray(required)) return [];
  return required.map((name: string) => properties[name] as JsonObject);
}

function requiredItems({ prefixItems, items, minItems }: JsonObject): JsonObject[] {
  if (Array.isArray(prefixItems)) return prefixItems;
  return isObject(items) && Number(minItems ?? 0) > 0 ? [items] : [];
}

/** A definition that is reached again before any text was written. */
function refuseCircles(definitions: ReadonlyMap<string, JsonObject>): void {
  const done = new Set<string>();
  const visit = (node: JsonObject | undefined, open: ReadonlySet<string>): void => {
    if (!node) return;
    if (Array.isArray(node.anyOf)) for (const inner of node.anyOf as JsonObject[]) visit(inner, open);
    if (typeof node.$ref !== "string") return;
    const name = nameOf(node.$ref);
    if (open.has(name)) throw new SchemaProblem("unsupported", "#", "a reference leads to itself and nothing else");
    if (done.has(name)) return;
    visit(definitions.get(name), new Set([...open, name]));
    done.add(name);
  };
  for (const name of definitions.keys()) visit({ $ref: `#/$defs/${name}` }, new Set());
}
