// Gives every choice of a request the sampler that its grammar, its tools, its JSON schema or its reasoning budget asks for, before
// anything is sent: a grammar that does not compile is still a plain refusal.
import type { AnswerFormat, Constraint, Engine } from "../engine/engine.ts";
import type { GenerationSettings } from "../openai/sampling-fields.ts";
import type { ChoiceRequest } from "./choices.ts";

/** @throws Failure invalid_grammar */
export function prepareSamplers(
  engine: Engine,
  settings: GenerationSettings,
  choices: readonly ChoiceRequest[],
): Promise<ChoiceRequest[]> {
  const prepare = async (choice: ChoiceRequest): Promise<ChoiceRequest> => {
    const constraint = constraintOf(choice.answer, settings);
    return constraint ? { ...choice, sampler: await engine.prepareSampler(choice.sampling, constraint) } : choice;
  };
  return Promise.all(choices.map(prepare));
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
