// How many tokens a request reserves before it runs (CONTRACT.md section 6.1); what it really used corrects that at its end.

/** What a request wants of the model. */
export type Demand = {
  /** Tokens of all its prompts. */
  readonly promptTokens: number;
  /** How many answers it asks for. */
  readonly answers: number;
  /** The limit of one answer; undefined when the request sets none. */
  readonly maxTokens: number | undefined;
};

/** Reserved for an answer at most, however long it may become: most answers end long before their limit. */
const answerTokens = 1024;

/** @param tokensPerMinute a request is never reserved more than that: it could never be let in */
export function tokensToReserve({ promptTokens, answers, maxTokens }: Demand, tokensPerMinute: number): number {
  const wanted = promptTokens + answers * Math.min(maxTokens ?? answerTokens, answerTokens);
  return Math.max(1, Math.min(wanted, tokensPerMinute));
}
