// The tools of a request, and which of them the model may or must call (API.md section 12). Tools that would run on the vendor's
// own servers are skipped and reported.
import { z } from "zod";
import type { ChatTool } from "../engine/engine.ts";
import { matching } from "../openai/fields.ts";
import { checkSchema } from "../openai/json-schema.ts";
import type { Paced } from "../openai/paced.ts";
import { clip, invalidValue, missing } from "../openai/refusals.ts";
import { readTools, type ToolSettings, type ToolSink } from "../openai/tools.ts";

export const toolName = /^[A-Za-z0-9_-]{1,128}$/;
export const toolNameRule = "expected 1 to 128 characters of A-Z, a-z, 0-9, _ and -";

const toolField = z.object({
  type: z.string().nullish(),
  name: z.string().nullish(),
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

export const toolsField = z.array(toolField).max(256);

export const toolChoiceField = z.object({
  type: z.enum(["auto", "any", "tool", "none"]),
  name: matching(toolName, toolNameRule).nullish(),
  disable_parallel_tool_use: z.boolean().nullish(),
});

type Tool = z.output<typeof toolField>;

/** Stops after each tool. @throws Failure 400 that names the tool, its schema or tool_choice */
export function* toTools(
  tools: readonly Tool[],
  choice: z.output<typeof toolChoiceField> | undefined,
): Paced<ToolSettings> {
  const isCustom = ({ type }: Tool) => !type || type === "custom";
  const { functions, ignored } = yield* readTools(tools, isCustom, addFunction);
  return { prompt: choose([...functions.values()], choice), ignored };
}

function addFunction(tool: Tool, path: string, functions: Map<string, ChatTool>, { ignored, total }: ToolSink): void {
  const { name, input_schema, strict } = tool;
  if (typeof name !== "string") throw missing(`${path}.name`);
  if (!toolName.test(name)) throw invalidValue(`${path}.name`, toolNameRule);
  if (functions.has(name)) throw invalidValue(`${path}.name`, `another tool has the name '${clip(name)}'`);
  const param = `${path}.input_schema`;
  if (!input_schema) throw missing(param);
  const options = { strict: strict === true, failure: "invalid_function_parameters", object: true, total } as const;
  const { schema, dropped, replaced } = checkSchema(input_schema, param, options);
  ignored.push(...(replaced ? [param] : dropped.map((keyword) => `${param}=${keyword}`)));
  // The model is still to know what it cannot be held to.
  const schemaText = replaced ? `Input (JSON Schema): ${JSON.stringify(input_schema)}` : undefined;
  const description = [tool.description, schemaText].filter(Boolean).join("\n");
  functions.set(name, { name, ...(description && { description }), parameters: schema });
}

function choose(
  tools: readonly ChatTool[],
  choice: z.output<typeof toolChoiceField> | undefined,
): ToolSettings["prompt"] {
  const { type = "auto", name } = choice ?? {};
  if (type === "tool" && !name) throw missing("tool_choice.name");
  const chosen = type === "tool" ? tools.filter((tool) => tool.name === name) : tools;
  if (type === "tool" && chosen.length === 0) {
    throw invalidValue("tool_choice.name", `no tool has the name '${clip(name ?? "")}'`);
  }
  if (type === "any" && chosen.length === 0) throw invalidValue("tool_choice", "'any' needs a tool to call");
  if (chosen.length === 0) return {};
  const toolChoice = type === "auto" || type === "none" ? type : "required";
  return { tools: chosen, toolChoice, ...(choice?.disable_parallel_tool_use && { parallelToolCalls: false }) };
}
