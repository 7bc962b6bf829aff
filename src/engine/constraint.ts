// From what restricts an answer to a compiled sampler: a grammar of the template's, of the caller's, or of a JSON schema.
import { Failure } from "../errors.ts";
import type { Addon, NativeConstraint, NativeModel } from "./addon.ts";
import { cut, NativeFormat } from "./chat.ts";
import type { Constraint, PreparedSampler, Sampling } from "./engine.ts";
import { strictJson } from "./json-grammar.ts";

/** @throws Failure invalid_grammar, or invalid_json_schema */
export async function prepareSampler(
  addon: Addon,
  model: NativeModel,
  sampling: Sampling,
  constraint: Constraint,
): Promise<PreparedSampler> {
  const { jsonSchema } = constraint;
  const grammar = jsonSchema ? await schemaGrammar(model, jsonSchema) : constraint.grammar;
  try {
    return { prepared: await addon.prepareSampler(model, sampling, toNative(constraint, grammar)) };
  } catch (cause) {
    throw new Failure("invalid_grammar", `Grammar error: ${cut(messageOf(cause))}`, { param: "grammar", cause });
  }
}

async function schemaGrammar(model: NativeModel, schema: object): Promise<string> {
  try {
    return strictJson(await model.schemaGrammar(JSON.stringify(schema)));
  } catch (cause) {
    const message = `The JSON schema cannot be enforced: ${cut(messageOf(cause))}`;
    throw new Failure("invalid_json_schema", message, { param: "json_schema", cause });
  }
}

const messageOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause));

/** @param own stands alone; without it the grammar is the template's, if it has one */
function toNative(constraint: Constraint, own: string | undefined): NativeConstraint {
  const chat = constraint.answer instanceof NativeFormat ? constraint.answer.chat : undefined;
  return {
    kind: own !== undefined ? "user" : chat?.grammar ? "template" : "none",
    grammar: own ?? chat?.grammar ?? "",
    lazy: own === undefined && (chat?.lazy ?? false),
    triggers: own === undefined ? (chat?.triggers ?? []) : [],
    generationPrompt: chat?.generationPrompt ?? "",
    thinkingStartTag: chat?.thinkingStartTag ?? "",
    thinkingEndTags: chat?.thinkingEndTags ?? [],
    budgetTokens: constraint.reasoningBudget ?? -1,
    budgetMessage: constraint.reasoningBudgetMessage ?? "",
  };
}
