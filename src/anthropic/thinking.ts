// Whether, how long and how hard the model thinks (API.md sections 6.5 and 12): Anthropic's fields over those that all dialects have.
import { z } from "zod";
import { integer } from "../openai/fields.ts";
import { type ReasoningSettings, reasoningFields, type TemplateNeed, toReasoning } from "../openai/reasoning-fields.ts";
import { invalidValue, missing } from "../openai/refusals.ts";
import type { GenerationSettings } from "../openai/sampling-fields.ts";
import type { outputConfigField } from "./output-format.ts";

export { reasoningFields };

export const thinkingField = z.object({
  type: z.enum(["enabled", "disabled", "adaptive"]),
  budget_tokens: integer(1, 2 ** 31 - 1).nullish(),
});

type Thinking = z.output<typeof thinkingField>;

type Fields = z.output<z.ZodObject<typeof reasoningFields>> & {
  readonly thinking?: Thinking | undefined;
  readonly output_config?: z.output<typeof outputConfigField> | undefined;
};

export type ThinkingSettings = Pick<ReasoningSettings, "prompt" | "needs"> & {
  readonly settings: Pick<GenerationSettings, "reasoning">;
};

/**
 * Anthropic's own field wins where both are given.
 * @param maxTokens undefined when nothing will be generated
 * @throws Failure 400
 */
export function toThinking(fields: Fields, maxTokens: number | undefined): ThinkingSettings {
  const { thinking, output_config } = fields;
  const ownBudget = thinking?.type === "enabled" ? budgetOf(thinking, maxTokens) : undefined;
  const ownEffort = output_config?.effort ?? undefined;
  const { prompt, budget, budgetMessage, needs } = toReasoning({
    ...fields,
    ...(ownEffort && { reasoning_effort: ownEffort }),
  });
  return {
    prompt: { ...prompt, ...(thinking && { enableThinking: thinking.type !== "disabled" }) },
    settings: { reasoning: { reasoningBudget: ownBudget ?? budget, reasoningBudgetMessage: budgetMessage } },
    needs: ownNeeds(needs, { effort: ownEffort !== undefined, budget: ownBudget !== undefined }),
  };
}

/** As the caller wrote them. */
function ownNeeds(needs: readonly TemplateNeed[], own: { effort: boolean; budget: boolean }): TemplateNeed[] {
  const renamed = needs
    .filter(({ variable }) => !(own.budget && variable === "tags"))
    .map((need) =>
      own.effort && need.field === "reasoning_effort" ? { ...need, field: "output_config.effort" } : need,
    );
  return own.budget ? [...renamed, { field: "thinking.budget_tokens", variable: "tags" }] : renamed;
}

/** @throws Failure 400 */
function budgetOf({ budget_tokens }: Thinking, maxTokens: number | undefined): number {
  if (typeof budget_tokens !== "number") throw missing("thinking.budget_tokens");
  if (maxTokens !== undefined && budget_tokens >= maxTokens) {
    throw invalidValue("thinking.budget_tokens", `expected less than max_tokens, ${maxTokens}, got ${budget_tokens}`);
  }
  return budget_tokens;
}
