// What form the text of a message must have: JSON by a schema, a grammar's, or none. At most one of them, and no grammar beside tools
// that may be called, which have one of their own.
import { z } from "zod";
import type { ChatPrompt } from "../engine/engine.ts";
import { checkSchema } from "../openai/json-schema.ts";
import { efforts } from "../openai/reasoning-fields.ts";
import { invalidValue } from "../openai/refusals.ts";
import type { GenerationSettings } from "../openai/sampling-fields.ts";

export const outputConfigField = z.object({
  effort: z.enum(efforts).nullish(),
  format: z.object({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) }).nullish(),
});

/**
 * The schema that the text must match, if any, and the field it comes from.
 * @throws Failure invalid_json_schema, schema_too_complex, or invalid_value for two forms at once
 */
export function toOutputForm(
  { output_config }: { readonly output_config?: z.output<typeof outputConfigField> | undefined },
  { grammar, jsonSchema }: Pick<GenerationSettings, "grammar" | "jsonSchema">,
  tools: Pick<ChatPrompt, "tools" | "toolChoice">,
): Pick<ChatPrompt, "jsonSchema" | "schemaParam"> {
  const format = output_config?.format;
  if (format && jsonSchema) throw invalidValue("json_schema", "it excludes 'output_config.format'");
  if (format && grammar !== undefined) throw invalidValue("grammar", "it excludes 'output_config.format'");
  if (grammar !== undefined && tools.tools && tools.toolChoice !== "none") {
    throw invalidValue("grammar", "it excludes tools unless 'tool_choice' is of type 'none'");
  }
  if (!format) return jsonSchema ? { jsonSchema, schemaParam: "json_schema" } : {};
  const { schema } = checkSchema(format.schema, "output_config.format.schema", { strict: true });
  return { jsonSchema: schema, schemaParam: "output_config.format" };
}
