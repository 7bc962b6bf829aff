// Reads made-up requests before the first real one comes. V8 compiles code only once it has run often: until then the schemas of a
// large request would hold everybody else's streams several times as long.
import { parseChatRequest } from "../openai/chat-request.ts";
import type { RequestLimits } from "../openai/sampling-fields.ts";
import type { JsonObject } from "../openai/validate.ts";
import { inTurns } from "./in-turns.ts";

const patterns = [
  "^(?:[A-Z]{2}|[^a-f\\s]+)-\\d{1,8}(?:\\.\\w*)?$",
  "^[^\\s\\W][\\d_-]{2,}$",
  "^.[\\x41-\\u0042]+?\\/\\S$",
  "^[^\\w\\s]{2}\\D[a-z.]?$",
];

/** Something of everything that a schema may say. */
const schema: JsonObject = {
  type: "object",
  properties: {
    name: { type: "string", description: "A name.", minLength: 1, maxLength: 40 },
    count: { type: "integer", minimum: -3, exclusiveMaximum: 9000 },
    ...Object.fromEntries(patterns.map((pattern, index) => [`code${index}`, { type: "string", pattern }])),
    place: { type: "object", properties: { x: { type: "number" }, y: { type: "number" } }, required: ["x"] },
    tags: { type: "array", items: { enum: ["a", "b", 3] }, minItems: 1, maxItems: 4 },
    pair: { type: "array", prefixItems: [{ type: "boolean" }, { const: "é" }], items: false },
    when: { anyOf: [{ type: "string", format: "date-time" }, { type: "null" }] },
    next: { $ref: "#/$defs/node" },
    both: { allOf: [{ type: "object", properties: { a: { type: "string" } } }, { required: ["a"] }] },
    rest: { type: "object", additionalProperties: { type: ["string", "null"] } },
  },
  required: ["name", "count"],
  additionalProperties: false,
  $defs: { node: { type: "object", properties: { next: { $ref: "#/$defs/node" } } } },
};

/** Bounds of one request are kept by using several. */
const requests = 6;
const toolsOfEach = 32;

/** Takes some tenths of a second, a few milliseconds at a time. */
export async function warmUp(config: RequestLimits["config"]): Promise<void> {
  const limits: RequestLimits = { config, modelName: "it", maxChoices: 1, loraScales: [] };
  const tools = Array.from({ length: toolsOfEach }, (_, index) => ({
    type: "function",
    function: { name: `f${index}`, description: "Does it.", parameters: schema, strict: index % 2 === 0 },
  }));
  const body = {
    model: limits.modelName,
    messages: [{ role: "user", content: "Hello" }],
    tools,
    response_format: { type: "json_schema", json_schema: { name: "it", schema } },
  };
  for (let done = 0; done < requests; done++) await inTurns(parseChatRequest(body, limits));
}
