// From what restricts an answer to a compiled sampler: a grammar of the template's, of the caller's, or of a JSON schema.
import { Failure } from "../errors.ts";
import type { Addon, NativeConstraint, NativeModel, NativeRenderedChat, NativeSamplingFailure } from "./addon.ts";
import { cut, NativeFormat } from "./chat.ts";
import type { Constraint, PreparedSampler, Sampling } from "./engine.ts";
import { strictJson } from "./json-grammar.ts";

/** @throws Failure invalid_grammar, invalid_json_schema or schema_too_complex; invalid_value when JSON was begun as none by the schema */
export async function prepareSampler(
  addon: Addon,
  model: NativeModel,
  sampling: Sampling,
  constraint: Constraint,
): Promise<PreparedSampler> {
  const { jsonSchema, answer } = constraint;
  const ownGrammar = constraint.grammar !== undefined || (answer instanceof NativeFormat && answer.ownGrammar);
  const grammar = jsonSchema ? await schemaGrammar(model, jsonSchema) : constraint.grammar;
  const native = toNative(constraint, grammar);
  try {
    return { prepared: await addon.prepareSampler(model, sampling, native), ownGrammar };
  } catch (cause) {
    const param = answer instanceof NativeFormat ? answer.begunParam : undefined;
    const failure = grammarFailure(messageOf(cause), ownGrammar, cause);
    if (param === undefined || !(await compiles(addon, model, { ...native, generationPrompt: "" }, sampling)))
      throw failure;
    const message = `Invalid value for '${param}': the last message, which the answer goes on with, does not begin such JSON.`;
    throw new Failure("invalid_value", message, { param, cause });
  }
}

/** The grammar by itself, whatever it must begin with. */
async function compiles(
  addon: Addon,
  model: NativeModel,
  native: NativeConstraint,
  sampling: Sampling,
): Promise<boolean> {
  return addon.prepareSampler(model, sampling, native).then(
    () => true,
    () => false,
  );
}

/** Of a grammar that could not be compiled, or not be followed. @param own the caller's, not one made for a JSON schema or tools */
function grammarFailure(reason: string, own: boolean, cause?: unknown): Failure {
  if (own) return new Failure("invalid_grammar", `Grammar error: ${cut(reason)}.`, { param: "grammar", cause });
  const message = `The grammar of the JSON schema or the tools cannot be followed: ${cut(reason)}.`;
  return new Failure("schema_too_complex", message, { cause });
}

/** One sequence could not be sampled. */
export function samplingFailure(
  { code, message }: NativeSamplingFailure,
  sampler: PreparedSampler | undefined,
): Failure {
  if (code !== "SAMPLING_FAILED") return grammarFailure(message, sampler?.ownGrammar ?? false);
  const cause = new Error(message);
  return new Failure("generation_failed", "The engine failed while working on this request.", { cause });
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
  const tokens = constraint.reasoningBudget ?? -1;
  return {
    kind: own !== undefined ? "user" : chat?.grammar ? "template" : "none",
    grammar: own ?? chat?.grammar ?? "",
    lazy: own === undefined && (chat?.lazy ?? false),
    triggers: own === undefined ? (chat?.triggers ?? []) : [],
    generationPrompt: chat?.generationPrompt ?? "",
    thinkingEndTags: chat?.thinkingEndTags ?? [],
    ...(chat ? budgetOf(chat, tokens) : { thinkingStartTag: "", budgetTokens: tokens }),
    budgetMessage: constraint.reasoningBudgetMessage ?? "",
  };
}

type Budget = Pick<NativeConstraint, "thinkingStartTag" | "budgetTokens">;

/**
 * Where a budget begins to count. When the prompt has begun the reasoning, all there is of it belongs to the tag: the line end behind
 * `<think>` is no thought of the model's, and would end a budget of 0 before it forced anything. When the prompt has ended it too,
 * there is nothing to force any more.
 */
function budgetOf({ generationPrompt, thinkingStartTag, thinkingEndTags }: NativeRenderedChat, tokens: number): Budget {
  const begun = generationPrompt.lastIndexOf(thinkingStartTag.trim());
  if (thinkingStartTag === "" || begun < 0) return { thinkingStartTag, budgetTokens: tokens };
  const reasoning = generationPrompt.slice(begun);
  const over = thinkingEndTags.some((tag) => reasoning.includes(tag.trim()));
  return over ? { thinkingStartTag, budgetTokens: -1 } : { thinkingStartTag: reasoning, budgetTokens: tokens };
}
