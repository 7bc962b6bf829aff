// Random JSON schemas made of the keywords that are enforced, with values that end soon, and strict validators for them.
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormatsModule from "ajv-formats";
import fc from "fast-check";

type Schema = Record<string, unknown>;

const name = fc.constantFrom("a", "b", "name", "x-y", 'quo"te', "back\\slash", "ünï", "sp ace", "[z]", "items", "");
const small = fc.integer({ min: 0, max: 3 });
const describe = (schema: fc.Arbitrary<Schema>): fc.Arbitrary<Schema> =>
  fc
    .tuple(schema, fc.constantFrom({}, { title: "t" }, { description: "d", default: null }))
    .map(([a, b]) => ({ ...b, ...a }));

const range = (min: string, max: string): fc.Arbitrary<Schema> =>
  fc.tuple(small, small).map(([from, more]) => ({ [min]: from, [max]: from + more }));

const patterns = [
  "^[a-z]{2,4}$",
  "^\\d{3}-\\d{4}$",
  "^(foo|bar|)baz?$",
  "^.{1,3}$",
  '^[^a-z]{2}"?$',
  "^\\\\\\w+\\s?$",
  "^(?:[A-F0-9]{2}:){2}[A-F0-9]{2}$",
  "^a*b+c?$",
  "^[\\u0400-\\u04ff]{1,5}\\.$",
  "^ab\\.*c$",
  '^["\\\\]x$',
  "^\\u{1F600}[\\d_-]$",
  "^$",
];

const text: fc.Arbitrary<Schema> = fc.oneof(
  range("minLength", "maxLength").map((bounds) => ({ type: "string", ...bounds })),
  fc.constantFrom(...patterns).map((pattern) => ({ type: "string", pattern })),
  fc.constantFrom("date", "time", "date-time", "uuid").map((format) => ({ type: "string", format })),
);

const bound = fc.oneof(fc.integer({ min: -1200, max: 1200 }), fc.constantFrom(-1e6, 100, 1000, 1024, 99999, 0.5, -7.5));
const integer: fc.Arbitrary<Schema> = fc.oneof(
  fc.constant({ type: "integer" }),
  bound.map((minimum) => ({ type: "integer", minimum })),
  bound.map((maximum) => ({ type: "integer", maximum })),
  bound.map((exclusiveMinimum) => ({ type: "integer", exclusiveMinimum })),
  bound.map((exclusiveMaximum) => ({ exclusiveMaximum, type: "integer" })),
  fc.tuple(bound, fc.integer({ min: 1, max: 3000 })).map(([minimum, more]) => ({
    type: "integer",
    minimum,
    maximum: minimum + more,
  })),
  fc.constant({ type: "integer", minimum: -9007199254740991, maximum: 9007199254740991 }),
);

const value = fc.oneof(
  fc.string({ unit: "binary", maxLength: 6 }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.constant([1, "x"]),
);
const fixed: fc.Arbitrary<Schema> = fc.oneof(
  value.map((only) => ({ const: only })),
  fc
    .uniqueArray(value, { minLength: 1, maxLength: 4, comparator: (a, b) => JSON.stringify(a) === JSON.stringify(b) })
    .map((list) => ({ enum: list })),
);
const plain: fc.Arbitrary<Schema> = fc.constantFrom(
  { type: "number" },
  { type: "boolean" },
  { type: "null" },
  { type: ["integer", "null"] },
  { type: ["string", "boolean"], maxLength: 2 },
);

const { node } = fc.letrec<{
  node: Schema;
  leaf: Schema;
  object: Schema;
  array: Schema;
  union: Schema;
  merged: Schema;
}>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3, depthIdentifier: "schema" },
    tie("leaf"),
    tie("object"),
    tie("array"),
    tie("union"),
    tie("merged"),
  ),
  leaf: describe(fc.oneof(text, integer, fixed, plain)),
  object: describe(
    fc
      .tuple(
        fc.uniqueArray(fc.tuple(name, tie("node")), { maxLength: 4, selector: ([key]) => key }),
        fc.array(fc.boolean()),
        tie("leaf"),
        small,
      )
      .map(([properties, required, additional, kind]) => ({
        type: "object",
        properties: Object.fromEntries(properties),
        required: properties.map(([key]) => key).filter((_, index) => required[index]),
        ...(kind === 0 && { additionalProperties: false }),
        ...(kind === 1 && { additionalProperties: additional }),
      })),
  ),
  array: describe(
    fc.oneof(
      fc
        .tuple(tie("node"), range("minItems", "maxItems"))
        .map(([items, bounds]) => ({ type: "array", items, ...bounds })),
      fc
        .array(tie("node"), { minLength: 1, maxLength: 3 })
        .map((prefixItems) => ({ type: "array", prefixItems, items: false })),
    ),
  ),
  union: describe(fc.array(tie("node"), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf }))),
  merged: fc.tuple(tie("leaf"), tie("leaf")).map(([one, two]) => ({
    allOf: [
      { properties: { one }, required: ["one"] },
      { type: "object", properties: { two } },
    ],
  })),
}));

/** A schema of an object, now and then with definitions that refer to themselves. */
export const schemaArbitrary: fc.Arbitrary<Schema> = fc.tuple(node, node, small).map(([one, two, kind]) => {
  const list = {
    type: "object",
    properties: { value: two, next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/list" }] } },
    required: ["value"],
  };
  const properties = { one, two: kind === 0 ? { $ref: "#/$defs/list" } : two };
  return { type: "object", properties, required: ["one"], ...(kind === 0 && { $defs: { list } }) };
});

const addFormats = addFormatsModule as unknown as (ajv: Ajv2020, options: object) => void;

/** Checks by JSON Schema 2020-12; formats by their shape. */
export function compileValidator(schema: Schema): ValidateFunction {
  const ajv = new Ajv2020({ strict: false });
  addFormats(ajv, { mode: "fast", formats: ["date", "time", "date-time", "uuid"] });
  return ajv.compile(schema);
}
