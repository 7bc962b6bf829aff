// Engine requests with nothing special about them, and what comes back from one, folded.
import type { AnswerPart, GenerationEvent, GenerationRequest, Sampling } from "../../src/engine/engine.ts";

export const greedy: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 40,
  minP: 0.05,
  seed: 0,
  repeatPenalty: 1,
  repeatLastN: 64,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: [],
};

export function request(prompt: ArrayLike<number>, overrides: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    prompt: Int32Array.from(prompt),
    maxTokens: 16,
    stop: [],
    sampling: greedy,
    cacheScope: "test",
    signal: new AbortController().signal,
    ...overrides,
  };
}

export type Answer = { content: string; reasoning: string; finish: Extract<GenerationEvent, { type: "finish" }> };

/** Reads all events. Throws when the stream fails or ends without exactly one finish as its last event. */
export async function collect(events: AsyncIterable<GenerationEvent>): Promise<Answer> {
  const parts: AnswerPart[] = [];
  let finish: Answer["finish"] | undefined;
  for await (const event of events) {
    if (finish) throw new Error("an event after finish");
    if (event.type === "finish") finish = event;
    else if (event.type === "delta") parts.push(...event.parts);
  }
  if (!finish) throw new Error("no finish event");
  const join = (kind: AnswerPart["kind"]) =>
    parts.flatMap((part) => (part.kind === kind && "text" in part ? [part.text] : [])).join("");
  return { content: join("content"), reasoning: join("reasoning"), finish };
}
