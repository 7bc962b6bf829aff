// The tools of a Responses request and which of them may or must be called (API.md section 11). Tools that would run on the vendor's
// own servers are skipped and reported.
import { z } from "zod";
import type { ChatTool } from "../engine/engine.ts";
import type { Paced } from "./paced.ts";
import { clip, invalidValue, missing } from "./refusals.ts";
import { isFunction, readTools, type ToolSettings, type ToolSink, toChatTool } from "./tools.ts";

export const functionName = /^[A-Za-z0-9_-]{1,64}$/;
export const functionNameRule = "expected 1 to 64 characters of A-Z, a-z, 0-9, _ and -";

const toolField = z.object({
  type: z.string(),
  name: z.string().nullish(),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

const toolChoiceField = z.union([
  z.enum(["auto", "none", "required"]),
  z.object({
    type: z.enum(["function", "allowed_tools"]),
    name: z.string().nullish(),
    mode: z.enum(["auto", "required"]).nullish(),
    tools: z
      .array(z.object({ type: z.string(), name: z.string().nullish() }))
      .max(256)
      .nullish(),
  }),
]);

export const toolFields = {
  tools: z.array(toolField).max(256).optional(),
  tool_choice: toolChoiceField.optional(),
  parallel_tool_calls: z.boolean().optional(),
};

type Fields = z.output<z.ZodObject<typeof toolFields>>;
type Tool = z.output<typeof toolField>;
type ToolChoice = z.output<typeof toolChoiceField>;

/** Stops after each tool. @throws Failure 400 that names the tool, its schema or tool_choice */
export function* toTools({ tools = [], tool_choice = "auto", parallel_tool_calls }: Fields): Paced<ToolSettings> {
  const { functions, ignored } = yield* readTools(tools, isFunction, addFunction);
  const prompt = choose(functions, tool_choice);
  const oneCall = prompt.tools && parallel_tool_calls === false && { parallelToolCalls: false };
  return { prompt: { ...prompt, ...oneCall }, ignored };
}

function addFunction(tool: Tool, path: string, functions: Map<string, ChatTool>, sink: ToolSink): void {
  const { name } = tool;
  if (typeof name !== "string") throw missing(`${path}.name`);
  if (!functionName.test(name)) throw invalidValue(`${path}.name`, functionNameRule);
  if (functions.has(name)) throw invalidValue(`${path}.name`, `another tool has the name '${name}'`);
  functions.set(name, toChatTool({ ...tool, name }, path, `${path}.parameters`, sink));
}

function choose(functions: ReadonlyMap<string, ChatTool>, choice: ToolChoice): ToolSettings["prompt"] {
  const [toolChoice, tools] = typeof choice === "string" ? [choice, [...functions.values()]] : pick(functions, choice);
  if (tools.length > 0) return { tools, toolChoice };
  if (toolChoice === "required") throw invalidValue("tool_choice", "it needs a tool of type 'function' to call");
  return {};
}

/** The named function alone, or those that are allowed, in the order of the tools. */
function pick(
  functions: ReadonlyMap<string, ChatTool>,
  choice: Exclude<ToolChoice, string>,
): ["auto" | "required", ChatTool[]] {
  if (choice.type === "function") {
    if (typeof choice.name !== "string") throw missing("tool_choice.name");
    return ["required", [find(functions, choice.name)]];
  }
  if (!choice.mode) throw missing("tool_choice.mode");
  if (!choice.tools) throw missing("tool_choice.tools");
  const allowed = choice.tools.flatMap(({ type, name }, index) => {
    if (type !== "function") return [];
    if (typeof name !== "string") throw missing(`tool_choice.tools[${index}].name`);
    return [find(functions, name)];
  });
  if (allowed.length === 0) throw invalidValue("tool_choice", "it needs a tool of type 'function'");
  return [choice.mode, [...functions.values()].filter((tool) => allowed.includes(tool))];
}

function find(functions: ReadonlyMap<string, ChatTool>, name: string): ChatTool {
  const tool = functions.get(name);
  if (!tool) throw invalidValue("tool_choice", `no tool of type 'function' has the name '${clip(name)}'`);
  return tool;
}
