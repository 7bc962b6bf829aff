// What form the content of a chat answer must have (API.md section 6.4): text, JSON by a schema, or a grammar's. At most one of them.
import { z } from "zod";
import { anyObject, checkSchema } from "./json-schema.ts";
import { invalidValue, missing } from "./refusals.ts";
import type { JsonObject } from "./validate.ts";

const schemaField = z.record(z.string(), z.unknown());

export const responseFormatField = z.object({
  type: z.enum(["text", "json_object", "json_schema"]),
  schema: schemaField.nullish(),
  json_schema: z
    .object({
      name: z.string().nullish(),
      description: z.string().nullish(),
      schema: schemaField.nullish(),
      strict: z.boolean().nullish(),
    })
    .nullish(),
});

type Fields = {
  readonly response_format?: z.output<typeof responseFormatField> | undefined;
  /** Checked already. */
  readonly jsonSchema: JsonObject | undefined;
  readonly grammar: string | undefined;
};

/**
 * The schema that the content must match, if any.
 * @throws Failure invalid_json_schema, schema_too_complex, or invalid_value for two forms at once
 */
export function toJsonSchema({ response_format, jsonSchema, grammar }: Fields): JsonObject | undefined {
  if (!response_format || response_format.type === "text") return jsonSchema;
  if (jsonSchema) throw invalidValue("json_schema", "it excludes a JSON 'response_format'");
  if (grammar !== undefined) throw invalidValue("grammar", "it excludes a JSON 'response_format'");
  const { type, schema, json_schema } = response_format;
  if (type === "json_object") {
    return schema ? checkSchema(schema, "response_format.schema", { strict: true }).schema : anyObject;
  }
  if (!json_schema) throw missing("response_format.json_schema");
  return checkSchema(json_schema.schema ?? undefined, "response_format.json_schema.schema", { strict: true }).schema;
}
