// A registry as JSON for people: a value for each metric, an object by label values where it has labels, a histogram as its count
// and sum.
import type { Registry } from "prom-client";

type Node = { [key: string]: Json | string };
type Json = number | Node;

/** @param prefix what the names in JSON do without */
export async function registryJson(registry: Registry, prefix: string): Promise<Record<string, Json>> {
  const result: Record<string, Json> = {};
  for (const metric of await registry.getMetricsAsJSON()) {
    const name = metric.name.slice(prefix.length);
    const values: Value[] = metric.values;
    if (name.endsWith("_info")) result[name] = { ...(values[0]?.labels as Record<string, string> | undefined) };
    else if (values.every(({ labels }) => pathOf(labels).length === 0) && values.length > 0)
      result[name] = leaf(values);
    else result[name] = tree(values);
  }
  return result;
}

/** `metricName` tells a histogram's values apart. */
type Value = {
  readonly value: number;
  readonly labels: Partial<Record<string, string | number>>;
  readonly metricName?: string;
};

const pathOf = (labels: Value["labels"]): string[] =>
  Object.entries(labels).flatMap(([name, value]) => (name === "le" ? [] : [String(value)]));

function leaf(values: readonly Value[]): Json {
  const part = (ending: string) => values.find(({ metricName }) => metricName?.endsWith(ending))?.value;
  const count = part("_count");
  return count === undefined ? values[0]!.value : { count, sum: part("_sum") ?? 0 };
}

function tree(values: readonly Value[]): Json {
  const groups = new Map<string, Value[]>();
  for (const value of values) {
    const key = JSON.stringify(pathOf(value.labels));
    groups.set(key, [...(groups.get(key) ?? []), value]);
  }
  const root = emptyNode();
  for (const [key, group] of groups) put(root, JSON.parse(key) as string[], leaf(group));
  return root;
}

function put(node: Node, path: readonly string[], value: Json): void {
  const [first, ...rest] = path;
  if (rest.length === 0) node[first!] = value;
  else {
    node[first!] ??= emptyNode();
    put(node[first!] as Node, rest, value);
  }
}

/** Without what every object has: `constructor` and `__proto__` are label values like any other. */
const emptyNode = (): Node => Object.create(null) as Node;
