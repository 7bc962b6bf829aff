// JSON by generated schemas on tiny-chat: at high temperature, too, every answer that comes to its end is valid by a strict validator.
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { compileValidator, schemaArbitrary } from "../helpers/schemas.ts";
import { jsonOf } from "../helpers/server.ts";
import { shareTinyApi } from "../helpers/tiny-api.ts";

const schemas = fc.sample(schemaArbitrary, { seed: 11, numRuns: 300 });
/** One test's share, so that none of them takes long. */
const share = 60;
/** Answers decoded together. */
const parallel = 8;
/** Where a schema allows long texts a small model may go on and on; another seed ends sooner. */
const attempts = 8;

type Schema = Record<string, unknown>;

const api = shareTinyApi(test, { MAX_CONCURRENT_REQUESTS: `${parallel}` });

async function answer(t: ExecutionContext, schema: Schema, seed: number) {
  const answered = await api.post("/v1/chat/completions", {
    messages: [{ role: "user", content: "Describe a cow as JSON." }],
    chat_template_kwargs: { enable_thinking: false },
    response_format: { type: "json_schema", json_schema: { name: "x", schema } },
    max_tokens: 400,
    seed,
    ...(seed % 4 === 3 ? { temperature: 1.5, top_k: 100 } : { temperature: 1 }),
  });
  t.is(answered.status, 200, JSON.stringify(schema));
  return (await jsonOf(answered)).choices[0];
}

/** @returns whether an answer came to its end */
async function judge(t: ExecutionContext, schema: Schema, index: number): Promise<boolean> {
  const validate = compileValidator(schema);
  for (let attempt = 0; attempt < attempts; attempt++) {
    const { message, finish_reason } = await answer(t, schema, index + attempt * schemas.length);
    if (finish_reason === "length") continue;
    const valid = validate(JSON.parse(message.content));
    t.true(valid, `${JSON.stringify(validate.errors)} ${message.content} ${JSON.stringify(schema)}`);
    return true;
  }
  return false;
}

for (let first = 0; first < schemas.length; first += share) {
  test.serial(`answers to generated schemas ${first + 1} to ${first + share} are all valid`, async (t) => {
    const queue = [...schemas.entries()].slice(first, first + share);
    const work = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [index, schema] = next;
        t.true(await judge(t, schema, index), `no answer ended: ${JSON.stringify(schema)}`);
      }
    };
    await Promise.all(Array.from({ length: parallel }, work));
  });
}

const user = [{ role: "user", content: "Hello" }];

/** Where each route takes a schema: the body, and what `param` names. */
const places: readonly [path: string, body: (schema: unknown) => object, param: string][] = [
  [
    "/v1/chat/completions",
    (schema) => ({ messages: user, response_format: { type: "json_schema", json_schema: { name: "x", schema } } }),
    "response_format.json_schema.schema",
  ],
  ["/v1/chat/completions", (json_schema) => ({ messages: user, json_schema }), "json_schema"],
  [
    "/v1/responses",
    (schema) => ({ input: "Hello", text: { format: { type: "json_schema", name: "x", schema } } }),
    "text.format.schema",
  ],
  [
    "/v1/messages",
    (schema) => ({ messages: user, max_tokens: 5, output_config: { format: { type: "json_schema", schema } } }),
    "output_config.format.schema",
  ],
];

const inside = (schema: unknown) => ({ type: "object", properties: { a: { type: "array", items: schema } } });

test("what cannot be enforced is 400 with its place, on every route that takes a schema", async (t) => {
  const refused: readonly [keyword: string, schema: object][] = [
    ["uniqueItems", { type: "array", items: {}, uniqueItems: true }],
    ["multipleOf", { type: "number", multipleOf: 2 }],
    ["not", { not: { type: "null" } }],
    ["pattern", { type: "string", pattern: "(?=a)b" }],
    ["format", { type: "string", format: "email" }],
    ["patternProperties", { type: "object", patternProperties: { "^a": {} } }],
  ];
  for (const [path, body, param] of places) {
    for (const [keyword, schema] of refused) {
      const answer = await api.post(path, body(inside(schema)));
      t.is(answer.status, 400, keyword);
      const { error } = await jsonOf(answer);
      t.like(error, { code: "invalid_json_schema", param, schema_path: `#/properties/a/items/${keyword}` }, keyword);
    }
  }
});

test("hostile schemas are refused before anything is computed", async (t) => {
  let deep: object = { type: "string" };
  for (let depth = 0; depth < 60; depth++) deep = depth % 2 ? { type: "array", items: deep } : inside(deep);
  const text = (pattern: string) => inside({ type: "string", pattern });
  const names = Array.from({ length: 3000 }, (_, index) => [`p${index}`, { type: "string" }]);
  const hostile: object[] = [
    inside({ type: "array", items: { type: "array", items: {}, maxItems: 2000 }, minItems: 2000, maxItems: 1e9 }),
    inside({ type: "string", maxLength: 1e12 }),
    text(`^${"(a|aa){1,9}".repeat(40)}$`),
    text(`^${"(".repeat(200)}a${")*".repeat(200)}$`),
    text(`^${"a?".repeat(300)}$`),
    { type: "object", properties: Object.fromEntries(names), required: ["p0"] },
    { $ref: "#" },
    { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
    { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] },
    { $ref: "https://example.invalid/schema.json" },
    inside({ enum: Array.from({ length: 5000 }, (_, index) => index) }),
  ];
  for (const [path, body] of places) {
    t.is((await api.post(path, body(deep))).status, 400);
    for (const [index, schema] of hostile.entries()) {
      const answer = await api.post(path, body(schema));
      t.is(answer.status, 400, `${path} ${index} ${JSON.stringify(schema).slice(0, 200)}`);
      t.regex((await jsonOf(answer)).error.code, /^(invalid_json_schema|schema_too_complex)$/, `${path} ${index}`);
    }
  }
  t.true(api.engine.slots().every(({ state }) => state === "idle"));
});
