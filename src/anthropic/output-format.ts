// What form the text of a message must have: JSON by a schema, a grammar's, or none. At most one of them, and none beside tools that
// may be called, which have a grammar of their own.
import { z } from "zod";
import type { ChatPrompt } from "../engine/engine.ts";
import { checkSchema } from "../openai/json-schema.ts";
import { efforts } from "../openai/reasoning-fields.ts";
import { invalidValue } from "../openai/refusals.ts";
import type { GenerationSettings } from "../openai/sampling-fields.ts";
import type { JsonObject } from "../openai/validate.ts";

export const outputConfigField = z.object({
  effort: z.enum(efforts).nullish(),
  format: z.object({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) }).nullish(),
});

/**
 * The schema that the text must match, if any.
 * @throws Failure invalid_json_schema, schema_too_complex, or invalid_value for two forms at once
 */
export function toJsonSchema(
  { output_config }: { readonly output_config?: z.output<typeof outputConfigField> | undefined },
  { grammar, jsonSchema }: Pick<GenerationSettings, "grammar" | "jsonSchema">,
  tools: Pick<ChatPrompt, "tools" | "toolChoice">,
): JsonObject | undefined {
  const format = output_config?.format;
  if (format && jsonSchema) throw invalidValue("json_schema", "it excludes 'output_config.format'");
  if (format && grammar !== undefined) throw invalidValue("grammar", "it excludes 'output_config.format'");
  const field = format ? "output_config.format" : grammar === undefined ? "json_schema" : "grammar";
  if ((format || jsonSchema || grammar !== undefined) && tools.tools && tools.toolChoice !== "none") {
    throw invalidValue(field, "it excludes tools unless 'tool_choice' is of type 'none'");
  }
  return format ? checkSchema(format.schema, "output_config.format.schema", { strict: true }).schema : jsonSchema;
}
