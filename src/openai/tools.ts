// The tools of a chat request and which of them may or must be called (API.md section 6.3). Tools that are no functions are skipped
// and reported, like schema keywords that are not enforced.
import { z } from "zod";
import type { ChatPrompt, ChatTool } from "../engine/engine.ts";
import { matching } from "./fields.ts";
import { checkSchema } from "./json-schema.ts";
import type { Paced } from "./paced.ts";
import { clip, invalidValue, missing } from "./refusals.ts";
import { SchemaTotal } from "./schema-bounds.ts";

export const functionName = matching(/^[A-Za-z0-9_-]{1,64}$/, "expected 1 to 64 characters of A-Z, a-z, 0-9, _ and -");

const functionField = z.object({
  name: functionName,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

const toolField = z.object({ type: z.string(), function: functionField.nullish() });

const namedField = z.object({ name: z.string() });

const allowedField = z.object({
  mode: z.enum(["auto", "required"]),
  tools: z.array(z.object({ type: z.string(), function: namedField.nullish() })).max(256),
});

const choiceField = z.union([
  z.enum(["none", "auto", "required"]),
  z.object({
    type: z.enum(["function", "allowed_tools"]),
    function: namedField.nullish(),
    allowed_tools: allowedField.nullish(),
  }),
]);

export const toolFields = {
  tools: z.array(toolField).max(256).optional(),
  tool_choice: choiceField.optional(),
  parallel_tool_calls: z.boolean().optional(),
};

type Tool = z.output<typeof toolField>;
type Choice = z.output<typeof choiceField>;
type FunctionTool = z.output<typeof functionField>;

export type ToolSettings = {
  readonly prompt: Pick<ChatPrompt, "tools" | "toolChoice" | "parallelToolCalls">;
  /** Skipped tools, and keywords of their schemas that are not enforced. */
  readonly ignored: readonly string[];
};

/** Stops after each tool. @throws Failure 400 that names the tool, its schema or tool_choice */
export function* toTools(fields: z.output<z.ZodObject<typeof toolFields>>): Paced<ToolSettings> {
  const { functions, ignored } = yield* readTools(fields.tools ?? [], isFunction, addFunction);
  const { tools, toolChoice } = choose(functions, fields.tool_choice ?? "auto");
  if (tools.length === 0) return { prompt: {}, ignored };
  const oneCall = fields.parallel_tool_calls === false && { parallelToolCalls: false };
  return { prompt: { tools, toolChoice, ...oneCall }, ignored };
}

/** What all tools of one request add to: reports of what is not enforced, and the size of their schemas. */
export type ToolSink = { readonly ignored: string[]; readonly total: SchemaTotal };

/** Of the other two dialects, too. Stops after each. @param add reads one of those that are functions, the others are reported */
export function* readTools<T extends { readonly type?: string | null | undefined }>(
  tools: readonly T[],
  isFunction: (tool: T) => boolean,
  add: (tool: T, path: string, functions: Map<string, ChatTool>, sink: ToolSink) => void,
): Paced<{ readonly functions: ReadonlyMap<string, ChatTool>; readonly ignored: string[] }> {
  const ignored: string[] = [];
  const functions = new Map<string, ChatTool>();
  const sink = { ignored, total: new SchemaTotal() };
  for (const [index, tool] of tools.entries()) {
    const path = `tools[${index}]`;
    if (isFunction(tool)) add(tool, path, functions, sink);
    else ignored.push(`${path}=${tool.type}`);
    yield;
  }
  return { functions, ignored };
}

export const isFunction = ({ type }: { readonly type: string }): boolean => type === "function";

function addFunction(tool: Tool, path: string, functions: Map<string, ChatTool>, sink: ToolSink): void {
  if (!tool.function) throw missing(`${path}.function`);
  const { name } = tool.function;
  if (functions.has(name)) throw invalidValue(`${path}.function.name`, `another tool has the name '${name}'`);
  functions.set(name, toChatTool(tool.function, path, `${path}.function.parameters`, sink));
}

/**
 * @param path how the tool is reported
 * @param param where its schema stands
 * @throws Failure invalid_function_parameters or schema_too_complex, for a strict one
 */
export function toChatTool(
  { name, description, parameters, strict }: FunctionTool,
  path: string,
  param: string,
  { ignored, total }: ToolSink,
): ChatTool {
  const checked = checkSchema(parameters ?? undefined, param, {
    strict: strict === true,
    failure: "invalid_function_parameters",
    object: true,
    total,
  });
  ignored.push(...checked.dropped.map((keyword) => `${path}.parameters=${keyword}`));
  if (checked.replaced) ignored.push(`${path}.parameters`);
  // The model is still to know what it cannot be held to.
  const told = checked.replaced
    ? `${description ?? name}\nArguments (JSON Schema): ${JSON.stringify(parameters)}`
    : description;
  return { name, ...(told && { description: told }), parameters: checked.schema };
}

type Chosen = { readonly tools: readonly ChatTool[]; readonly toolChoice: "none" | "auto" | "required" };

function choose(functions: ReadonlyMap<string, ChatTool>, choice: Choice): Chosen {
  if (typeof choice !== "string")
    return choice.type === "function" ? named(functions, choice) : allowed(functions, choice);
  if (choice === "required" && functions.size === 0) throw noFunctions();
  return { tools: [...functions.values()], toolChoice: choice };
}

type ObjectChoice = Exclude<Choice, string>;

/** A call of one function is a call that is required where there is no other. */
function named(functions: ReadonlyMap<string, ChatTool>, choice: ObjectChoice): Chosen {
  if (!choice.function) throw missing("tool_choice.function");
  const tool = find(functions, choice.function.name);
  return { tools: [tool], toolChoice: "required" };
}

/** The others are not shown to the model. */
function allowed(functions: ReadonlyMap<string, ChatTool>, choice: ObjectChoice): Chosen {
  if (!choice.allowed_tools) throw missing("tool_choice.allowed_tools");
  const { mode, tools } = choice.allowed_tools;
  const wanted = tools.flatMap((tool, index) => {
    if (tool.type !== "function") return [];
    if (!tool.function) throw missing(`tool_choice.allowed_tools.tools[${index}].function`);
    return [find(functions, tool.function.name)];
  });
  if (wanted.length === 0) throw noFunctions();
  return { tools: [...functions.values()].filter((tool) => wanted.includes(tool)), toolChoice: mode };
}

function find(functions: ReadonlyMap<string, ChatTool>, name: string): ChatTool {
  if (functions.size === 0) throw noFunctions();
  const tool = functions.get(name);
  if (!tool) throw invalidValue("tool_choice", `no function in 'tools' has the name '${clip(name)}'`);
  return tool;
}

function noFunctions() {
  return invalidValue("tool_choice", "it needs a function in 'tools'");
}

/** Tools have a grammar of their own. @throws Failure invalid_value */
export function refuseGrammar(grammar: string | undefined, tools: Pick<ChatPrompt, "tools" | "toolChoice">): void {
  if (grammar === undefined || !tools.tools || tools.toolChoice === "none") return;
  throw invalidValue("grammar", "it excludes tools unless 'tool_choice' is 'none'");
}
