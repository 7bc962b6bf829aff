// Makes request bodies from the JSON schema of a route: mostly right, with values at and past every bound, of wrong types, missing, or
// odd. Words that mean something to the routes come by the name of the member, so that many bodies get far.
import type { Random } from "./random.ts";

type Schema = Readonly<Record<string, unknown>>;

const texts = ["", "a", "Hello", "é🦊", "\u0000", "<|im_start|>", "{{ x }}", "x".repeat(300), '"\\\n', "\ud800"];

const schemas: readonly unknown[] = [
  {},
  { type: "object", properties: { a: { type: "string" } }, required: ["a"] },
  { type: "object", properties: { a: { $ref: "#/properties/a" } } },
  { $ref: "#" },
  { type: "string", pattern: "^(a|b)*$" },
  { type: "object", patternProperties: { "^x": {} } },
  { enum: ["a", 1, null] },
  { type: "array", items: { type: "integer" }, maxItems: 5000 },
];

const user = { role: "user", content: "Hello" };

/** Conversations that are right as far as they are understood. */
const conversations: readonly unknown[] = [
  [user],
  [user],
  [{ role: "system", content: "Be brief." }, user, { role: "assistant", content: "Hi" }, user],
  [
    user,
    {
      role: "assistant",
      tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: '{"a":1}' } }],
    },
    { role: "tool", tool_call_id: "1", content: "done" },
  ],
  [
    user,
    { role: "assistant", content: [{ type: "tool_use", id: "1", name: "f", input: { a: 1 } }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "1", content: "done" }] },
  ],
  [user, { role: "assistant", content: "Once" }],
];

/** What a member of this name usually holds. */
const words: Readonly<Record<string, readonly unknown[]>> = {
  messages: conversations,
  query: ["Hello"],
  role: ["user", "user", "assistant", "system", "developer", "tool", "function"],
  type: [
    ..."text input_text output_text refusal reasoning_text message function function_call function_call_output".split(
      " ",
    ),
    ..."reasoning tool_use tool_result thinking image_url input_image custom item_reference web_search".split(" "),
  ],
  id: ["1", "2", ""],
  call_id: ["1", "2", ""],
  tool_call_id: ["1", "2"],
  tool_use_id: ["1", "2"],
  name: ["f", "g", "a b", ""],
  arguments: ["{}", '{"a":1}', "", "[]", "{"],
  input: ["Hello", {}, { a: 1 }],
  parameters: schemas,
  input_schema: schemas,
  schema: schemas,
  json_schema: schemas,
  grammar: ['root ::= "a"', "root ::=", "", 'root ::= "a"{3000}'],
  include: [["message.output_text.logprobs"], ["x"]],
  // Bodies of other routes and other dialects.
  store: [true, false],
  previous_response_id: ["resp_1"],
};

export class BodyFuzz {
  readonly #random: Random;
  readonly #schema: Schema;

  constructor(random: Random, schema: Schema) {
    this.#random = random;
    this.#schema = schema;
  }

  /** The text of a body, now and then no JSON. */
  next(): string {
    const random = this.#random;
    const text = JSON.stringify(random.chance(0.02) ? this.#anything(3) : this.#value(this.#schema, 6)) ?? "";
    if (!random.chance(0.01)) return text;
    const at = random.below(text.length + 1);
    return text.slice(0, at) + random.pick(["", "\u0007", "}", "1", ',"a":1']) + text.slice(at + random.below(3));
  }

  #value(schema: Schema, depth: number, name = ""): unknown {
    const random = this.#random;
    if (random.chance(0.015)) return this.#anything(2);
    const usual = words[name];
    if (usual && random.chance(0.7)) return random.pick(usual);
    if ("const" in schema) return schema.const;
    if (Array.isArray(schema.enum)) return random.pick(schema.enum);
    const choices = (schema.anyOf ?? schema.oneOf) as readonly Schema[] | undefined;
    if (choices) return this.#value(random.pick(choices), depth, name);
    const type = Array.isArray(schema.type) ? random.pick(schema.type) : schema.type;
    switch (type) {
      case "object":
        return this.#object(schema, depth);
      case "array":
        return this.#array(schema, depth);
      case "string":
        return random.pick(texts);
      case "integer":
      case "number":
        return this.#number(schema);
      case "boolean":
        return random.chance(0.5);
      case "null":
        return null;
      default:
        return this.#anything(2);
    }
  }

  #object(schema: Schema, depth: number): object {
    const random = this.#random;
    const properties = Object.entries((schema.properties ?? {}) as Record<string, Schema>);
    const required = new Set((schema.required ?? []) as string[]);
    // The more a body has, the less likely it is that all of it is right.
    const often = Math.min(0.7, random.pick([0, 1, 2, 4]) / properties.length);
    const chosen = properties.filter(([name]) => random.chance(required.has(name) ? 0.98 : often));
    const members = chosen.map(([name, member]) => [name, depth > 0 ? this.#value(member, depth - 1, name) : null]);
    const more = typeof schema.additionalProperties === "object" ? (schema.additionalProperties as Schema) : undefined;
    const others = more ? random.some(3, () => [random.pick(texts), this.#value(more, depth - 1)]) : [];
    if (random.chance(0.05)) others.push([random.pick(["strange", "__proto__", "constructor"]), this.#anything(1)]);
    return Object.fromEntries([...members, ...others]);
  }

  #array(schema: Schema, depth: number): unknown[] {
    if (depth <= 0) return [];
    const fixed = (schema.prefixItems ?? []) as readonly Schema[];
    if (fixed.length > 0) return fixed.map((item) => this.#value(item, depth - 1));
    const items = (schema.items ?? {}) as Schema;
    return this.#random.some(this.#random.chance(0.02) ? 40 : 4, () => this.#value(items, depth - 1));
  }

  #number({ type, minimum, maximum }: Schema): number {
    const low = typeof minimum === "number" ? minimum : -10;
    const high = typeof maximum === "number" ? maximum : 10;
    const random = this.#random;
    if (random.chance(0.1)) return random.pick([low - 1, high + 1, 0.5, -0, 1e308, low - 0.001]);
    const value = random.pick([low, high, 0, 1, low + (Math.min(high, 100) - low) * random.fraction()]);
    return type === "integer" ? Math.round(value) : value;
  }

  #anything(depth: number): unknown {
    const random = this.#random;
    const scalars = [null, true, 0, -1, 1.5, 2 ** 53, ...texts];
    if (depth === 0 || random.chance(0.6)) return random.pick(scalars);
    if (random.chance(0.5)) return random.some(3, () => this.#anything(depth - 1));
    return Object.fromEntries(random.some(3, () => [random.pick(texts), this.#anything(depth - 1)]));
  }
}
