// Walks a JSON schema once: what each node is (a reference, alternatives, fixed values, or of a type), and what of it can be
// enforced. Keywords of one type are in schema-keywords.ts, targets of `$ref` in schema-references.ts.

import { mergeAllOf } from "./schema-all-of.ts";
import { pointerTo, SchemaBounds, SchemaProblem, type SchemaTotal } from "./schema-bounds.ts";
import { keywordsOfTypes, typeKeywords } from "./schema-keywords.ts";
import { References } from "./schema-references.ts";
import { isObject, isWithin, type JsonType, jsonTypes, typesOf } from "./schema-types.ts";
import type { JsonObject } from "./validate.ts";

/** Where a node stands. */
export type Place = {
  readonly pointer: string;
  /** Levels of schemas around it: since the last `$ref`, and through all of them. */
  readonly depth: number;
  readonly nesting: number;
  /** The type of the node around it, when that leaves the rest to this one. */
  readonly implied?: JsonType;
};

/** The model may see them; they restrict nothing. */
const annotations = new Set(["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"]);
const silent = new Set(["$schema", "$id", "$comment", "$defs", "definitions"]);
const forms = ["$ref", "anyOf", "oneOf", "allOf", "const", "enum"] as const;
type Form = (typeof forms)[number];

/** Members of the schema that is built, in order. */
export type Members = [name: string, value: unknown][];

export class SchemaWalk {
  readonly bounds: SchemaBounds;
  readonly dropped = new Set<string>();
  readonly #strict: boolean;
  readonly #root: JsonObject;
  readonly #references: References;

  constructor(root: JsonObject, strict: boolean, total: SchemaTotal) {
    this.bounds = new SchemaBounds(total);
    this.#root = root;
    this.#strict = strict;
    this.#references = new References(root, this);
  }

  /** The whole schema, with `$defs` for what its references mean. @throws SchemaProblem */
  run(): JsonObject {
    const root = this.node(this.#root, { pointer: "#", depth: 1, nesting: 1 });
    // A reference at the root is spelt out: functions need to see their object.
    const target = typeof root.$ref === "string" ? this.#references.definition(root) : undefined;
    const { $ref: _, ...rest } = root;
    return this.#references.attach(target ? { ...rest, ...target } : root);
  }

  /** What a keyword asks for cannot be had. @throws SchemaProblem when strict; else it is noted, and the caller leaves it out */
  refuse(pointer: string, keyword: string, why: string): void {
    if (this.#strict) throw new SchemaProblem("unsupported", pointerTo(pointer, keyword), why);
    this.dropped.add(keyword);
  }

  /** The node at a keyword's value, or at an item of it. */
  child(value: unknown, { pointer, depth, nesting }: Place, ...steps: readonly (string | number)[]): JsonObject {
    return this.node(value, { pointer: pointerTo(pointer, ...steps), depth: depth + 1, nesting: nesting + 1 });
  }

  node(schema: unknown, place: Place): JsonObject {
    const { pointer, depth, nesting } = place;
    this.bounds.node(pointer, depth, nesting);
    if (schema === true) return {};
    if (!isObject(schema)) {
      const why = schema === false ? "a place where no value is allowed cannot be enforced" : "expected a schema";
      if (this.#strict) throw new SchemaProblem("unsupported", pointer, why);
      this.dropped.add(pointer.slice(pointer.lastIndexOf("/") + 1));
      return {};
    }
    const form = this.#formOf(schema, pointer);
    const built = form === undefined ? undefined : this.#formed(form, schema, place);
    return Object.fromEntries(inOrderOf(schema, built ?? this.#typed(schema, place)));
  }

  /** Which of the exclusive keywords decides. Without `strict`, plain constraints win over combinations of them. */
  #formOf(schema: JsonObject, pointer: string): Form | undefined {
    const present = forms.filter((name) => Object.hasOwn(schema, name));
    const [form] = present;
    if (form === undefined) return undefined;
    for (const other of present.slice(1)) this.refuse(pointer, other, `it cannot stand beside ${form}`);
    const constraints = Object.keys(schema).filter((name) => name !== "type" && typeKeywords.has(name));
    if (constraints.length === 0) return form;
    const combines = form === "anyOf" || form === "oneOf" || form === "allOf";
    const [loser, winner] = combines && !this.#strict ? [form, constraints[0]] : [constraints[0]!, form];
    this.refuse(pointer, loser, `it cannot stand beside ${winner}`);
    return loser === form ? undefined : form;
  }

  /** Undefined when the form was dropped and the rest of the node counts. */
  #formed(form: Form, schema: JsonObject, place: Place): Members | undefined {
    const built = this.#build(form, schema, place);
    if (!built) return undefined;
    const declared = this.declaredTypes(schema, place.pointer) ?? (place.implied && [place.implied]);
    const members: Members = [...this.#others(schema, place.pointer), ...Object.entries(built)];
    if (!declared) return members;
    if (!isWithin(typesOf(built, this.#references), declared)) {
      this.refuse(place.pointer, "type", `it does not match what ${form} allows`);
      return members;
    }
    // Of several types the converter would make a copy of the node each, and beside a reference it looks at none.
    if (declared.length === 1 && form !== "$ref" && !Object.hasOwn(built, "type"))
      members.unshift(["type", declared[0]]);
    return members;
  }

  #build(form: Form, schema: JsonObject, place: Place): JsonObject | undefined {
    switch (form) {
      case "$ref":
        return this.#references.refer(schema.$ref, place);
      case "anyOf":
      case "oneOf":
        return this.#alternatives(form, schema, place);
      case "allOf":
        return mergeAllOf(this, this.#references, schema.allOf, place);
      case "const":
        return this.#values("const", [schema.const], place.pointer) ? { const: schema.const } : undefined;
      case "enum":
        return this.#values("enum", schema.enum, place.pointer) ? { enum: schema.enum } : undefined;
    }
  }

  #alternatives(form: "anyOf" | "oneOf", schema: JsonObject, place: Place): JsonObject | undefined {
    const list = schema[form];
    if (!Array.isArray(list) || list.length === 0) {
      this.refuse(place.pointer, form, "expected a non-empty array of schemas");
      return undefined;
    }
    const types = this.declaredTypes(schema, place.pointer);
    const implied = types?.length === 1 ? types[0] : place.implied;
    const { pointer, depth, nesting } = place;
    const anyOf = list.map((alternative: unknown, index) => {
      const inner = { pointer: pointerTo(pointer, form, index), depth: depth + 1, nesting: nesting + 1 };
      return this.node(alternative, implied ? { ...inner, implied } : inner);
    });
    return { anyOf };
  }

  #values(keyword: "const" | "enum", values: unknown, pointer: string): boolean {
    if (!Array.isArray(values) || values.length === 0) {
      this.refuse(pointer, keyword, "expected a non-empty array");
      return false;
    }
    const at = pointerTo(pointer, keyword);
    this.bounds.values(values.length, at);
    for (const value of values) this.bounds.text(JSON.stringify(value), at);
    return true;
  }

  /** Of a node without an exclusive keyword: by its `type`, or by what its keywords are about. */
  #typed(schema: JsonObject, place: Place): Members {
    const { pointer } = place;
    const declared = this.declaredTypes(schema, pointer) ?? (place.implied ? [place.implied] : this.#inferred(schema));
    const members = this.#others(schema, pointer);
    if (!declared) return members;
    members.push(["type", declared.length === 1 ? declared[0] : declared]);
    members.push(...keywordsOfTypes(this, schema, declared, place));
    return members;
  }

  /** Undefined when absent, or dropped. */
  declaredTypes(schema: JsonObject, pointer: string): readonly JsonType[] | undefined {
    if (!Object.hasOwn(schema, "type")) return undefined;
    const types: unknown[] = Array.isArray(schema.type) ? schema.type : [schema.type];
    const known = types.length > 0 && types.length <= jsonTypes.length && types.every(isJsonType);
    if (known && new Set(types).size === types.length) return types as JsonType[];
    this.refuse(pointer, "type", `expected one or several of ${jsonTypes.join(", ")}`);
    return undefined;
  }

  #inferred(schema: JsonObject): readonly JsonType[] | undefined {
    for (const name of Object.keys(schema)) {
      const type = typeKeywords.get(name);
      if (type) return [type];
    }
    return undefined;
  }

  /** Annotations; unknown keywords are refused, or stay for the model to see: the converter does not look at them. */
  #others(schema: JsonObject, pointer: string): Members {
    const members: Members = [];
    for (const [name, value] of Object.entries(schema)) {
      if (
        name === "type" ||
        silent.has(name) ||
        typeKeywords.has(name) ||
        (forms as readonly string[]).includes(name)
      ) {
        continue;
      }
      if (isVacuous(name, value)) continue;
      if (!annotations.has(name)) this.refuse(pointer, name, "this keyword cannot be enforced");
      members.push([name, value]);
    }
    return members;
  }
}

function isJsonType(type: unknown): type is JsonType {
  return (jsonTypes as readonly unknown[]).includes(type);
}

/** The model sees functions' schemas as their authors ordered them. */
function inOrderOf(schema: JsonObject, members: Members): Members {
  const order = new Map(Object.keys(schema).map((name, index) => [name, index]));
  const rank = ([name]: Members[number]) => order.get(name) ?? order.size;
  return members.sort((a, b) => rank(a) - rank(b));
}

/** Keywords that generators of schemas write although they restrict nothing. */
function isVacuous(name: string, value: unknown): boolean {
  if (name === "uniqueItems") return value === false;
  if (name === "minProperties") return value === 0;
  return name === "propertyNames" && isObject(value) && Object.keys(value).length === 1 && value.type === "string";
}
