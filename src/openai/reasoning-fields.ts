// The fields that steer thinking and the chat template (API.md sections 6.1 and 6.5). What they come to depends on the template in two
// cases, which are left to whoever knows it: see `needs`.
import { z } from "zod";
import type { ChatMessage, ChatPrompt } from "../engine/engine.ts";
import { integer, members } from "./fields.ts";
import { invalidValue, wrongType } from "./refusals.ts";

const budgetField = integer(-1, 1_000_000).optional();

export const efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const;

export const reasoningFields = {
  reasoning_effort: z.enum(efforts).optional(),
  thinking_budget_tokens: budgetField,
  reasoning_budget_tokens: budgetField,
  reasoning_budget_message: z.string().max(1024).optional(),
  reasoning_format: z.enum(["auto", "deepseek", "none"]).optional(),
  chat_template_kwargs: members(z.unknown(), 32).optional(),
};

export const turnFields = {
  add_generation_prompt: z.boolean().optional(),
  continue_final_message: z.union([z.boolean(), z.enum(["content", "reasoning_content"])]).optional(),
};

/** A field that has an effect only where the template looks at a variable, or marks thinking by tags. */
export type TemplateNeed = {
  readonly field: string;
  readonly variable: "reasoning_effort" | "enable_thinking" | "tags";
};

export type ReasoningSettings = {
  readonly prompt: Pick<ChatPrompt, "enableThinking" | "templateKwargs" | "splitReasoning">;
  /** Tokens of reasoning; undefined = any number. */
  readonly budget?: number;
  readonly budgetMessage?: string;
  /** To be reported as ignored where the template lacks them. */
  readonly needs: readonly TemplateNeed[];
};

type Fields = z.output<z.ZodObject<typeof reasoningFields>>;

/** Variables that the rendering sets itself. */
const ownVariables = ["messages", "tools", "bos_token", "eos_token", "add_generation_prompt"];

/** @throws Failure 400 that names the template variable */
export function toReasoning(fields: Fields): ReasoningSettings {
  const { enable_thinking, ...kwargs } = checkKwargs(fields.chat_template_kwargs ?? {});
  const effort = fields.reasoning_effort;
  const enableThinking = enable_thinking ?? (effort === "none" ? false : undefined);
  if (effort !== undefined && effort !== "none") kwargs.reasoning_effort ??= effort;
  const [budgetField, budget] = budgetOf(fields);
  const needs: TemplateNeed[] = [];
  if (effort !== undefined) {
    needs.push({ field: "reasoning_effort", variable: effort === "none" ? "enable_thinking" : "reasoning_effort" });
  }
  if (budget !== undefined) needs.push({ field: budgetField, variable: "tags" });
  return {
    prompt: {
      ...(enableThinking !== undefined && { enableThinking }),
      ...(Object.keys(kwargs).length > 0 && { templateKwargs: kwargs }),
      ...(fields.reasoning_format === "none" && { splitReasoning: false }),
    },
    ...(budget !== undefined && { budget }),
    ...(fields.reasoning_budget_message !== undefined && { budgetMessage: fields.reasoning_budget_message }),
    needs,
  };
}

/** -1 asks for nothing. */
function budgetOf(fields: Fields): [field: string, tokens: number | undefined] {
  const field = fields.thinking_budget_tokens === undefined ? "reasoning_budget_tokens" : "thinking_budget_tokens";
  const tokens = fields[field];
  return [field, tokens === undefined || tokens < 0 ? undefined : tokens];
}

function checkKwargs(kwargs: Record<string, unknown>): Record<string, unknown> & { enable_thinking?: boolean } {
  const own = ownVariables.find((name) => Object.hasOwn(kwargs, name));
  if (own) throw invalidValue(`chat_template_kwargs.${own}`, "this variable cannot be set");
  const { enable_thinking } = kwargs;
  if (enable_thinking !== undefined && typeof enable_thinking !== "boolean") {
    throw wrongType("chat_template_kwargs.enable_thinking", "a boolean", enable_thinking);
  }
  return kwargs as { enable_thinking?: boolean };
}

/**
 * Whether a new turn begins, or the last message goes on.
 * @param calls whether the answer must be a call
 * @throws Failure invalid_value
 */
export function toTurn(
  fields: z.output<z.ZodObject<typeof turnFields>>,
  messages: readonly ChatMessage[],
  calls: boolean,
): Pick<ChatPrompt, "addGenerationPrompt" | "continueFinalMessage"> {
  const { add_generation_prompt, continue_final_message } = fields;
  if (!continue_final_message) return add_generation_prompt === false ? { addGenerationPrompt: false } : {};
  if (add_generation_prompt) {
    throw invalidValue("continue_final_message", "it excludes 'add_generation_prompt': true");
  }
  const last = messages.at(-1);
  if (last?.role !== "assistant" || last.toolCalls) {
    throw invalidValue("continue_final_message", "it needs a last message of the assistant without tool_calls");
  }
  // Only thinking may come before a call that is forced.
  if (calls && continue_final_message !== "reasoning_content" && last.content) {
    throw invalidValue("tool_choice", "a call cannot be forced in an answer that goes on with a text");
  }
  return { addGenerationPrompt: false, continueFinalMessage: continue_final_message };
}
