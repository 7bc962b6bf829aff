// Gives every choice of a request the sampler that its grammar, its tools, its JSON schema or its reasoning budget asks for, before
// anything is sent: a grammar that does not compile is still a plain refusal.
import type { AnswerFormat, Constraint, Engine, PreparedSampler } from "../engine/engine.ts";
import type { GenerationSettings } from "../openai/sampling-fields.ts";
import type { ChoiceRequest } from "./choices.ts";

/** @throws Failure invalid_grammar */
export function prepareSamplers<T extends Pick<ChoiceRequest, "sampling" | "answer">>(
  engine: Engine,
  settings: GenerationSettings,
  choices: readonly T[],
): Promise<(T & { readonly sampler?: PreparedSampler })[]> {
  const withSampler = async (choice: T) => {
    const sampler = await prepare(engine, settings, choice);
    return sampler ? { ...choice, sampler } : choice;
  };
  return Promise.all(choices.map(withSampler));
}

/** For a request that is not to generate. @throws Failure invalid_grammar, schema_too_complex */
export async function checkForm(engine: Engine, settings: GenerationSettings, answer: AnswerFormat): Promise<void> {
  await prepare(engine, settings, { sampling: { ...settings.sampling, logitBias: [] }, answer });
}

async function prepare(
  engine: Engine,
  settings: GenerationSettings,
  { sampling, answer }: Pick<ChoiceRequest, "sampling" | "answer">,
): Promise<PreparedSampler | undefined> {
  const constraint = constraintOf(answer, settings);
  if (!constraint) return undefined;
  try {
    return await engine.prepareSampler(sampling, constraint);
  } catch (error) {
    // A template's grammar holds the caller's under other names and on other lines: what is wrong is told of the caller's alone.
    const { grammar } = settings;
    if (answer?.constrained && grammar !== undefined) await engine.prepareSampler(sampling, { grammar });
    throw error;
  }
}

/** Undefined when nothing restricts the answer. A template that makes room for reasoning has the caller's grammar inside its own. */
function constraintOf(answer: AnswerFormat | undefined, settings: GenerationSettings): Constraint | undefined {
  const { reasoning } = settings;
  const budgeted = answer?.thinks && reasoning?.reasoningBudget !== undefined;
  const grammar = answer?.constrained ? undefined : settings.grammar;
  // A chat template has the schema in its own grammar.
  const jsonSchema = answer ? undefined : settings.jsonSchema;
  if (grammar === undefined && !jsonSchema && !budgeted && !answer?.constrained) return undefined;
  return {
    ...(answer && (budgeted || answer.constrained) && { answer }),
    ...(grammar !== undefined && { grammar }),
    ...(jsonSchema && { jsonSchema }),
    ...(budgeted && reasoning),
  };
}
