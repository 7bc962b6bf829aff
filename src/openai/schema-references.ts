// Targets of `$ref` within one schema. Each is walked once, and gets a name in `$defs` that no other schema of a request has: the
// converter makes a rule's name of the way to its node, and takes equal names for equal rules.
import { createHash } from "node:crypto";
import { pointerTo } from "./schema-bounds.ts";
import { isObject, type Resolver } from "./schema-types.ts";
import type { Place, SchemaWalk } from "./schema-walk.ts";
import type { JsonObject } from "./validate.ts";

const definitions = "#/$defs/";

export class References implements Resolver {
  readonly #root: JsonObject;
  readonly #walk: SchemaWalk;
  /** Names of definitions by their steps from the root, as JSON. */
  readonly #names = new Map<string, string>();
  /** Checked definitions by name; those that are still being read are not there. */
  readonly #nodes = new Map<string, JsonObject>();
  #hash: string | undefined;

  constructor(root: JsonObject, walk: SchemaWalk) {
    this.#root = root;
    this.#walk = walk;
  }

  /** A node that refers to the target; undefined when that was refused and dropped. */
  refer(reference: unknown, { pointer, nesting }: Place): JsonObject | undefined {
    const steps = stepsOf(reference);
    if (!steps) return this.#refuse(pointer, "only references into the same schema (#/…) are supported");
    const key = JSON.stringify(steps);
    let name = this.#names.get(key);
    if (name === undefined) {
      const target = this.#find(steps);
      if (!isObject(target)) return this.#refuse(pointer, "there is no schema at this reference");
      name = this.#newName(steps);
      this.#names.set(key, name);
      const place = { pointer: pointerTo("#", ...steps), depth: 1, nesting: nesting + 1 };
      this.#nodes.set(name, this.#walk.node(target, place));
    }
    return { $ref: definitions + name };
  }

  /** The checked schema that such a node refers to. */
  definition({ $ref }: JsonObject): JsonObject | undefined {
    return typeof $ref === "string" ? this.#nodes.get($ref.slice(definitions.length)) : undefined;
  }

  /** The schema at a reference, as the caller wrote it. */
  original(reference: unknown): unknown {
    const steps = stepsOf(reference);
    return steps && this.#find(steps);
  }

  /** The root with all definitions. */
  attach(root: JsonObject): JsonObject {
    return this.#nodes.size === 0 ? root : { ...root, $defs: Object.fromEntries(this.#nodes) };
  }

  #newName(steps: readonly string[]): string {
    this.#hash ??= createHash("sha256").update(JSON.stringify(this.#root)).digest("hex").slice(0, 8);
    const readable = (steps.at(-1) ?? "root").replace(/[^A-Za-z0-9]/g, "").slice(0, 40);
    return `${readable}-${this.#hash}-${this.#names.size}`;
  }

  #find(steps: readonly string[]): unknown {
    let value: unknown = this.#root;
    for (const step of steps) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
      value = (value as JsonObject)[step];
    }
    return value;
  }

  #refuse(pointer: string, why: string): undefined {
    this.#walk.refuse(pointer, "$ref", why);
    return undefined;
  }
}

/** Undefined unless it points into the same document. */
function stepsOf(reference: unknown): string[] | undefined {
  if (typeof reference !== "string" || !/^#(\/|$)/.test(reference)) return undefined;
  try {
    const [, ...steps] = decodeURIComponent(reference).split("/");
    return steps.map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
