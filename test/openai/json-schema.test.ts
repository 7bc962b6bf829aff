// Which JSON schemas are enforced and what becomes of them, which are refused and where, and that hostile ones take no time.
import test from "ava";
import fc from "fast-check";
import { Failure } from "../../src/errors.ts";
import { checkSchema } from "../../src/openai/json-schema.ts";
import { SchemaTotal } from "../../src/openai/schema-bounds.ts";
import { schemaArbitrary } from "../helpers/schemas.ts";

type Schema = Record<string, unknown>;

const checked = (schema: Schema) => checkSchema(schema, "p", { strict: true }).schema;
const lenient = (schema: Schema) => checkSchema(schema, "p", { strict: false });

function refusal(schema: Schema): Record<string, unknown> | undefined {
  try {
    checked(schema);
    return undefined;
  } catch (error) {
    if (error instanceof Failure) return { status: error.status, ...error.toErrorObject() };
    throw error;
  }
}

/** Where it is refused. */
const place = (schema: Schema) => refusal(schema)?.schema_path;

test("what is enforced stays as it is", (t) => {
  const kept: Schema[] = [
    {
      type: "object",
      properties: { a: { type: "string" }, b: { type: "number" } },
      required: ["a"],
      additionalProperties: false,
    },
    { type: "object", additionalProperties: { type: "integer" } },
    { type: "array", items: { type: ["string", "null"] }, minItems: 1, maxItems: 2000 },
    { type: "array", prefixItems: [{ type: "string" }, { type: "boolean" }] },
    { type: "string", minLength: 1, maxLength: 3 },
    { type: "string", format: "date-time" },
    { type: "integer", minimum: -5, maximum: 7 },
    { enum: ["a", 1, null, { b: [] }] },
    { const: { a: 1 } },
    { anyOf: [{ type: "null" }, { type: "object", properties: {}, title: "t" }] },
    { description: "anything" },
  ];
  for (const schema of kept) t.deepEqual(checked(schema), schema);
});

test("absent and empty schemas are any object", (t) => {
  t.deepEqual(checkSchema(undefined, "p", { strict: true }), {
    schema: { type: "object" },
    dropped: [],
    replaced: false,
  });
  t.deepEqual(checked({}), { type: "object" });
});

test("the type is said where the keywords or the node around leave no other", (t) => {
  t.deepEqual(checked({ properties: { a: {} } }), { properties: { a: {} }, type: "object" });
  t.deepEqual(checked({ items: {} }), { items: {}, type: "array" });
  t.deepEqual(checked({ maxLength: 3 }), { maxLength: 3, type: "string" });
  t.deepEqual(checked({ type: "object", anyOf: [{ properties: {} }] }), {
    type: "object",
    anyOf: [{ properties: {}, type: "object" }],
  });
});

test("keywords without effect are left out or passed on", (t) => {
  const told = {
    title: "t",
    description: "d",
    default: 1,
    examples: [1],
    deprecated: true,
    readOnly: true,
    writeOnly: false,
  };
  t.deepEqual(checked({ ...told, type: "integer" }), { ...told, type: "integer" });
  const silent = { $schema: "https://json-schema.org/draft/2020-12/schema", $id: "x", $comment: "c", $defs: { a: {} } };
  t.deepEqual(checked({ ...silent, type: "integer" }), { type: "integer" });
  const vacuous = { uniqueItems: false, minProperties: 0, propertyNames: { type: "string" } };
  t.deepEqual(checked({ type: "object", ...vacuous }), { type: "object" });
  t.deepEqual(checked({ type: "string", items: {}, minimum: 3 }), { type: "string" }, "of another type");
});

test("oneOf and allOf become what the converter expresses exactly", (t) => {
  t.deepEqual(checked({ oneOf: [{ type: "string" }] }), { anyOf: [{ type: "string" }] });
  t.deepEqual(checked({ description: "d", allOf: [{ type: "string", maxLength: 2 }] }), {
    description: "d",
    type: "string",
    maxLength: 2,
  });
  const base = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
  t.deepEqual(checked({ allOf: [{ $ref: "#/$defs/base" }, { properties: { b: {} } }], $defs: { base } }), {
    type: "object",
    properties: { a: { type: "integer" }, b: {} },
    required: ["a"],
  });
});

test("references get names of their own; a reference at the root is spelt out", (t) => {
  const $defs = { "a/b": { type: "string" }, c: { $ref: "#/$defs/a~1b" }, unused: { not: {} } };
  const schema = checked({
    type: "object",
    properties: { x: { $ref: "#/$defs/a~1b", description: "d" }, y: { $ref: "#/%24defs/c" } },
    $defs,
  });
  const { x, y } = schema.properties as Record<string, Schema>;
  const definitions = schema.$defs as Record<string, Schema>;
  t.is(x!.description, "d");
  const [named, other] = [x!, y!].map(({ $ref }) => String($ref).slice("#/$defs/".length));
  t.regex(named!, /^ab-[0-9a-f]{8}-0$/);
  t.deepEqual(definitions[named!], { type: "string" });
  t.deepEqual(definitions[other!], { $ref: x!.$ref });
  t.is(Object.keys(definitions).length, 2);
  t.like(checked({ $ref: "#/$defs/o", $defs: { o: { type: "object", properties: {} } } }), {
    type: "object",
    properties: {},
  });
});

test("two schemas never share the name of a definition", (t) => {
  const names = ["string", "integer"].map((type) =>
    Object.keys(checked({ properties: { a: { $ref: "#/$defs/x" } }, $defs: { x: { type } } }).$defs as object),
  );
  t.notDeepEqual(names[0], names[1]);
});

test("recursion is kept where it can end", (t) => {
  const list = {
    type: "object",
    properties: { next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/list" }] } },
    required: ["next"],
  };
  t.truthy(checked({ $ref: "#/$defs/list", $defs: { list } }));
  t.truthy(checked({ type: "object", properties: { self: { $ref: "#" } } }));
  t.truthy(checked({ type: "array", items: { $ref: "#" } }));
  const endless = { type: "object", properties: { a: { $ref: "#/$defs/e" } }, required: ["a"] };
  t.like(refusal({ $ref: "#/$defs/e", $defs: { e: endless } }), { status: 400, code: "invalid_json_schema" });
  t.like(refusal({ type: "array", items: { $ref: "#" }, minItems: 1 }), { code: "invalid_json_schema" });
  t.like(refusal({ $ref: "#" }), { code: "invalid_json_schema" });
  t.like(refusal({ $ref: "#/$defs/a", $defs: { a: { anyOf: [{ $ref: "#/$defs/a" }, { type: "null" }] } } }), {
    code: "invalid_json_schema",
  });
  t.like(refusal({ allOf: [{ $ref: "#/$defs/a" }, {}], $defs: { a: { $ref: "#/$defs/a" } } }), {
    schema_path: "#/allOf",
  });
});

test("bounds of integers are inclusive, two-sided where the converter errs, and of at most 15 digits", (t) => {
  const bounds = (schema: Schema) => {
    const { minimum, maximum } = checked({ type: "integer", ...schema });
    return [minimum, maximum];
  };
  const most = 999_999_999_999_999;
  t.deepEqual(bounds({ minimum: 1 }), [1, undefined]);
  t.deepEqual(bounds({ exclusiveMinimum: 1 }), [2, undefined]);
  t.deepEqual(bounds({ minimum: 0.5, exclusiveMaximum: 4.5 }), [1, 4]);
  t.deepEqual(bounds({ maximum: 8, exclusiveMaximum: 8 }), [undefined, 7]);
  t.deepEqual(bounds({ minimum: 100 }), [100, most]);
  t.deepEqual(bounds({ maximum: -1 }), [-most, -1]);
  t.deepEqual(bounds({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }), [-most, most]);
  t.is(place({ type: "integer", minimum: 3, maximum: 2 }), "#/minimum");
  t.is(place({ type: "integer", minimum: 1e18 }), "#/minimum");
  t.is(place({ type: "integer", exclusiveMinimum: true }), "#/exclusiveMinimum");
});

test("patterns are rewritten so that they match JSON strings only", (t) => {
  const pattern = (text: string) => checked({ type: "string", pattern: text }).pattern;
  t.is(pattern("^a\\.b$"), "^a\\.b$");
  t.is(pattern("^[a-c]{2,3}$"), "^(?:[a-c]){2,3}$");
  t.is(pattern("^\\d*?x$"), "^(?:[0-9])*x$");
  t.is(pattern('^"\\\\$'), '^\\\\"\\\\\\\\$', "as escapes");
  t.is(pattern("^\\n$"), "^\\\\n$");
  t.false((pattern("^.$") as string).includes('"'));
  t.deepEqual(checked({ type: "string", pattern: "^$" }), { maxLength: 0, type: "string" });
});

test("patterns that are not anchored, not regular or not bounded are refused", (t) => {
  const texts = [
    "a",
    "^a",
    "a$",
    "^a\\$",
    "^(?=a)b$",
    "^(a)\\1$",
    "^\\bx$",
    "^\\p{L}$",
    "^(a*)*$",
    "^a^b$",
    "^[$",
    "^(?<n>a)$",
    "^x{2,1}$",
  ];
  for (const text of texts) {
    t.like(refusal({ type: "string", pattern: text }), { code: "invalid_json_schema", schema_path: "#/pattern" }, text);
  }
  for (const text of [`^${"a".repeat(511)}$`, "^a{2001}$", "^((a|aa){1,100}){1,100}$"]) {
    t.like(refusal({ type: "string", pattern: text }), { code: "schema_too_complex", schema_path: "#/pattern" }, text);
  }
});

test("every other keyword is refused where it stands", (t) => {
  const at = (schema: Schema, path: string) => {
    const told = refusal({ type: "object", properties: { "a/b": schema } });
    t.like(told, { status: 400, type: "invalid_request_error", code: "invalid_json_schema", param: "p" });
    t.is(told?.schema_path, `#/properties/a~1b${path}`);
    t.true(String(told?.message).startsWith("Unsupported at #/properties/a~1b"), String(told?.message));
  };
  for (const keyword of [
    "not",
    "if",
    "patternProperties",
    "dependentRequired",
    "multipleOf",
    "contains",
    "nullable",
    "x-y",
  ]) {
    at({ type: "object", [keyword]: {} }, `/${keyword}`);
  }
  at({ type: "array", uniqueItems: true }, "/uniqueItems");
  at({ type: "object", minProperties: 1 }, "/minProperties");
  at({ type: "string", format: "email" }, "/format");
  for (const keyword of ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
    at({ type: "number", [keyword]: 1 }, `/${keyword}`);
  at({ type: "string", pattern: "^a$", maxLength: 3 }, "/maxLength");
  at({ type: "string", format: "date", minLength: 3 }, "/minLength");
  at({ type: "string", pattern: "^a$", format: "date" }, "/format");
  at({ $ref: "https://example.com/x" }, "/$ref");
  at({ $ref: "#/$defs/none" }, "/$ref");
  at({ $ref: "#/$defs/%" }, "/$ref");
  at({ anyOf: [{}], properties: {} }, "/properties");
  at({ anyOf: [{}], oneOf: [{}] }, "/oneOf");
  at({ enum: ["a"], minLength: 1 }, "/minLength");
  at({ type: "string", enum: ["a", 1] }, "/type");
  at({ type: "string", const: 1 }, "/type");
  at({ type: "string", anyOf: [{ type: "integer" }] }, "/type");
  at({ allOf: [{ properties: { a: {} } }, { properties: { a: {} } }] }, "/allOf");
  at({ allOf: [{ properties: {} }, { additionalProperties: false }] }, "/allOf");
  at({ type: "object", required: ["a"] }, "/required");
  at({ type: "object", properties: { b: {} }, required: ["a"] }, "/required");
  at({ type: "array", prefixItems: [{}], items: {} }, "/prefixItems");
  at({ type: "array", prefixItems: [{}], minItems: 2 }, "/prefixItems");
  at({ type: "array", items: [{}] }, "/items");
  at({ type: "array", minItems: 3, maxItems: 2 }, "/minItems");
  at({ type: "tuple" }, "/type");
  at({ type: [] }, "/type");
  at({ type: ["string", "string"] }, "/type");
  at({ enum: [] }, "/enum");
  at({ anyOf: [] }, "/anyOf");
  at({ properties: [] }, "/properties");
  at({ maxItems: 1.5 }, "/maxItems");
  t.is(place({ type: "object", properties: { x: false } }), "#/properties/x");
  t.is(place({ type: "object", properties: { x: 5 } }), "#/properties/x");
});

test("without strict the same keywords are dropped and told, the model still sees what the converter does not", (t) => {
  const { schema, dropped, replaced } = lenient({
    type: "object",
    properties: {
      mail: { type: "string", format: "email", pattern: "@" },
      count: { type: "number", minimum: 1 },
      tags: { type: "array", items: { type: "string" }, uniqueItems: true },
    },
    required: ["mail", "other"],
    anyOf: [{ required: ["mail"] }, { required: ["count"] }],
  });
  t.deepEqual(schema, {
    type: "object",
    properties: {
      mail: { type: "string" },
      count: { type: "number", minimum: 1 },
      tags: { type: "array", items: { type: "string" }, uniqueItems: true },
    },
    required: ["mail"],
  });
  t.deepEqual([...dropped].sort(), ["anyOf", "format", "minimum", "pattern", "required", "uniqueItems"]);
  t.false(replaced);
  t.deepEqual(lenient({ type: "object", properties: { a: { $ref: "https://x/" } } }), {
    schema: { type: "object", properties: { a: {} } },
    dropped: ["$ref"],
    replaced: false,
  });
  t.deepEqual(lenient({ type: "string", maxLength: 5000 }), {
    schema: { type: "object" },
    dropped: [],
    replaced: true,
  });
});

const nested = (depth: number, wrap: (inner: Schema) => Schema): Schema =>
  Array.from({ length: depth }).reduce<Schema>(wrap, { type: "string" });
const many = (count: number, schema: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]));

test("schemas beyond a bound are refused, those at it are not", (t) => {
  const complex = (schema: Schema) => t.like(refusal(schema), { status: 400, code: "schema_too_complex", param: "p" });
  const array = (items: Schema): Schema => ({ type: "array", items });
  t.truthy(checked(nested(23, array)));
  complex(nested(24, array));
  t.truthy(checked({ type: "object", properties: many(1999, {}), required: Object.keys(many(1999, {})) }));
  complex({ type: "object", properties: many(2000, {}) });
  t.truthy(checked({ enum: Array.from({ length: 1000 }, (_, i) => i) }));
  complex({ enum: Array.from({ length: 1001 }, (_, i) => i) });
  complex({ const: "x".repeat(120_000) });
  complex({ type: "object", properties: { ["x".repeat(120_001)]: {} } });
  for (const keyword of ["maxLength", "minLength", "minItems", "maxItems"]) {
    t.truthy(checked({ [keyword]: 2000 }));
    complex({ [keyword]: 2001 });
  }
});

test("hostile schemas are refused quickly", (t) => {
  const twice = (inner: Schema): Schema => ({
    anyOf: [
      { type: "array", items: inner },
      { type: "array", items: inner, minItems: 1 },
    ],
  });
  const alike = (i: number): Schema => {
    const next = { $ref: `#/$defs/d${i + 1}` };
    return {
      anyOf: [
        { type: "array", items: next, minItems: 1 },
        { type: "array", items: next, maxItems: 5 },
      ],
    };
  };
  const chain = (count: number, link: (i: number) => Schema): Schema => ({
    type: "object",
    properties: { a: { $ref: "#/$defs/d0" } },
    $defs: {
      ...Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i}`, link(i)])),
      [`d${count}`]: { type: "null" },
    },
  });
  const hostile: Schema[] = [
    nested(50, twice),
    nested(60, (inner) => ({ anyOf: [inner, inner] })),
    chain(30, alike),
    chain(5000, (i) => ({ type: "array", items: { $ref: `#/$defs/d${i + 1}` } })),
    chain(1, () => ({
      anyOf: [
        { type: "array", items: { $ref: "#/$defs/d0" } },
        { type: "array", items: { $ref: "#/$defs/d0" }, minItems: 2 },
      ],
    })),
    { type: "object", properties: many(100_000, {}) },
    { type: "object", properties: many(300, { type: "string" }) },
    { type: "object", required: Array.from({ length: 500_000 }, (_, i) => `p${i}`) },
    { anyOf: Array.from({ length: 100_000 }, () => ({})) },
    { enum: Array.from({ length: 100_000 }, () => "x".repeat(20)) },
    { type: "object", properties: many(60, { type: "string", maxLength: 2000 }) },
    { type: "string", pattern: `^${"(".repeat(200)}a${")".repeat(200)}$` },
    { type: "string", pattern: `^${"(a|aa){1,9}".repeat(40)}$` },
    { allOf: Array.from({ length: 100_000 }, () => ({ properties: {} })) },
    { type: new Array(100_000).fill("object") as unknown },
  ];
  const started = performance.now();
  for (const [index, schema] of hostile.entries()) t.is(refusal(schema)?.status, 400, `schema ${index}`);
  // A minute would mean that one of them exploded; none does, so this is far from any real duration.
  t.true(performance.now() - started < 60_000);
});

test("alternatives that a first value tells apart may be nested and recursive", (t) => {
  const binary = (op: string) => ({
    type: "object",
    properties: { op: { const: op }, left: { $ref: "#/$defs/expression" }, right: { $ref: "#/$defs/expression" } },
    required: ["op", "left", "right"],
  });
  const expression = { anyOf: [{ type: "number" }, binary("add"), binary("mul")] };
  t.truthy(checked({ type: "object", properties: { e: { $ref: "#/$defs/expression" } }, $defs: { expression } }));
});

test("names of any kind are properties and nothing else", (t) => {
  const schema = JSON.parse(
    '{"type":"object","properties":{"__proto__":{"type":"string"},"constructor":{}},"required":["__proto__"]}',
  );
  const back = checked(schema);
  t.is(JSON.stringify(back), JSON.stringify(schema));
  t.is(place({ type: "object", properties: {}, required: ["constructor"] }), "#/required");
});

test("whatever the schema, it is checked or refused with a place, and checking again changes nothing", (t) => {
  const keywords =
    "type properties required items prefixItems enum const anyOf allOf $ref pattern minLength maxItems minimum format not".split(
      " ",
    );
  const anything = fc.letrec<{ schema: Schema; value: unknown }>((tie) => ({
    schema: fc.dictionary(fc.constantFrom(...keywords), tie("value"), { maxKeys: 4 }),
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom("object", "string", "integer", "array", "#", "#/properties/a", "^a$", "a"),
      fc.integer({ min: -2, max: 5 }),
      fc.boolean(),
      tie("schema"),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("a", "b"), tie("schema"), { maxKeys: 2 }),
    ),
  })).schema;
  fc.assert(
    fc.property(anything, (schema) => {
      const told = refusal(schema);
      if (told && (told.status !== 400 || !String(told.schema_path).startsWith("#"))) return false;
      if (!told && Object.keys(schema).length > 0 && refusal(checked(schema))) return false;
      return lenient(schema).schema !== undefined;
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test("every schema of the kind that is enforced passes", (t) => {
  fc.assert(
    fc.property(schemaArbitrary, (schema) => {
      const { dropped, replaced } = lenient(schema);
      return dropped.length === 0 && !replaced && refusal(schema) === undefined;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

const record = (count: number, of: (index: number) => Schema): Schema => {
  const properties = Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, of(index)]));
  return { type: "object", properties, required: Object.keys(properties) };
};

test("patterns are bounded together, also over all schemas of one request", (t) => {
  const schema = record(10, () => ({ type: "string", pattern: `^${".".repeat(498)}$` }));
  t.is(refusal(schema), undefined);
  t.like(refusal(record(21, () => ({ type: "string", pattern: `^${".".repeat(498)}$` }))), {
    code: "schema_too_complex",
    schema_path: "#/properties/p20/pattern",
  });
  const total = new SchemaTotal();
  const replaced = [1, 2, 3].map(() => checkSchema(schema, "p", { strict: false, total }).replaced);
  t.deepEqual(replaced, [false, false, true]);
});

test("what may stand in all places together is bounded, and references to the same cost nothing", (t) => {
  const variant = (index: number) => record(1, () => ({ const: `v${index}` }));
  const big = { anyOf: Array.from({ length: 400 }, (_, index) => variant(index)) };
  const refer = { $ref: "#/$defs/big" };
  t.is(refusal({ ...record(900, () => refer), $defs: { big } }), undefined);
  const orNull = (count: number) => ({
    ...record(count, () => ({ anyOf: [refer, { type: "null" }] })),
    $defs: { big },
  });
  t.is(refusal(orNull(10)), undefined);
  t.like(refusal(orNull(100)), { code: "schema_too_complex" });
});
