// The OpenAPI 3.1 document, made from the operations' zod schemas, which for requests are the very ones that validate. Pure: equal
// operations give an equal document.
import { z } from "zod";
import { catalogue } from "../../errors.ts";
import type { Route } from "../routes.ts";

/** What one route takes and answers. */
export type Operation = {
  readonly method: Route["method"];
  /** As OpenAPI writes it: `/v1/models/{id}`. */
  readonly path: string;
  readonly class: Route["class"];
  readonly summary: string;
  /** Of the body, without its top-level nulls. */
  readonly request?: z.ZodType;
  /** Of the JSON answer; absent: the answer is empty, or text. */
  readonly answer?: z.ZodType;
  /** Of the JSON in one event of the answer as a stream. */
  readonly event?: z.ZodType;
  /** Media type of an answer that is text. */
  readonly text?: string;
  /** The error object's form; default "openai". */
  readonly errors?: "openai" | "anthropic";
};

type Json = Record<string, unknown>;

const kinds: readonly [kind: string, entry: { readonly type: string; readonly code?: string }][] =
  Object.entries(catalogue);
const errorTypes = [...new Set(kinds.map(([, { type }]) => type))];
const errorCodes = [...new Set(kinds.map(([kind, { code }]) => code ?? kind))].sort();

const errorObject = z.looseObject({
  message: z.string(),
  type: z.enum(errorTypes),
  param: z.string().nullable(),
  code: z.enum(errorCodes),
});

const anthropicError = z.object({
  type: z.literal("error"),
  error: z.looseObject({
    type: z.string(),
    message: z.string(),
    param: z.string().nullable(),
    code: z.enum(errorCodes),
  }),
  request_id: z.string(),
});

const errorSchemas = {
  openai: { name: "Error", schema: z.object({ error: errorObject }) },
  anthropic: { name: "AnthropicError", schema: anthropicError },
};

/** @param version of this program */
export function createDocument(operations: readonly Operation[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method.toLowerCase()]: describe(operation) };
  }
  const errors = Object.values(errorSchemas).map(({ name, schema }) => [name, answerSchema(schema)]);
  return {
    openapi: "3.1.0",
    info: { title: "llama-gguf-inference", version, license: { name: "MIT", identifier: "MIT" } },
    paths,
    components: {
      schemas: Object.fromEntries(errors),
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        apiKey: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

function describe(operation: Operation): Json {
  const { method, path, summary, request } = operation;
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => {
    return { name, in: "path", required: true, schema: { type: "string" } };
  });
  return {
    operationId: `${method.toLowerCase()}${path.replace(/\W+(\w)/g, (_, letter) => letter.toUpperCase()).replace(/\W/g, "")}`,
    summary,
    ...(operation.class !== "public" && { security: [{ bearer: [] }, { apiKey: [] }] }),
    ...(parameters.length > 0 && { parameters }),
    ...(request && { requestBody: { required: true, content: jsonContent(requestSchema(request)) } }),
    responses: { "200": success(operation), default: failure(operation) },
  };
}

function success({ answer, event, text }: Operation): Json {
  const content = {
    ...(answer && jsonContent(answerSchema(answer))),
    // OpenAPI 3.1 has no word for the items of a stream; 3.2 calls them itemSchema.
    ...(event && { "text/event-stream": { "x-itemSchema": answerSchema(event) } }),
    ...(text && { [text]: { schema: { type: "string" } } }),
  };
  return { description: "Success.", ...(Object.keys(content).length > 0 && { content }) };
}

function failure({ errors = "openai" }: Operation): Json {
  const schema = { $ref: `#/components/schemas/${errorSchemas[errors].name}` };
  return { description: "A failure; nothing was done.", content: jsonContent(schema) };
}

const jsonContent = (schema: Json): Json => ({ "application/json": { schema } });

/** A top-level null means "absent", so every optional field may be null as well. */
function requestSchema(request: z.ZodType): Json {
  const schema = toJsonSchema(request, "input");
  const required = new Set(schema.required as string[] | undefined);
  const properties = Object.entries((schema.properties ?? {}) as Record<string, Json>).map(([name, property]) => {
    return [name, required.has(name) ? property : orNull(property)];
  });
  return { ...schema, ...(schema.properties !== undefined && { properties: Object.fromEntries(properties) }) };
}

function orNull(property: Json): Json {
  if (Object.keys(property).length === 0) return property;
  return { anyOf: [property, { type: "null" }] };
}

const answerSchema = (answer: z.ZodType): Json => toJsonSchema(answer, "output");

function toJsonSchema(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Json;
  return rest;
}
