// Request parsing as both routes do it, with a small model's limits, and what a refusal tells.
import { Failure } from "../../src/errors.ts";
import { type ChatRequest, parseChatRequest } from "../../src/openai/chat-request.ts";
import { type CompletionRequest, parseCompletionRequest } from "../../src/openai/completion-request.ts";
import type { Paced } from "../../src/openai/paced.ts";
import type { JsonObject } from "../../src/openai/validate.ts";
import { testConfig } from "./server.ts";

export const testLimits = { modelName: "served", maxChoices: 4, vocabSize: 100, loraScales: [] };

const hello = { messages: [{ role: "user", content: "Hello" }] };

/** A chat request with these fields besides one message. */
export function chat(fields: JsonObject, env: Record<string, string> = {}): ChatRequest {
  return atOnce(parseChatRequest({ ...hello, ...fields }, { ...testLimits, config: testConfig(env) }));
}

/** A completion request with these fields besides a prompt. */
export function completion(fields: JsonObject, env: Record<string, string> = {}): CompletionRequest {
  return parseCompletionRequest({ prompt: "Hello", ...fields }, { ...testLimits, config: testConfig(env) });
}

/** The outcome of work that can stop, without a stop. */
export function atOnce<T>(work: Paced<T>): T {
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value;
}

export type Refusal = { status: number; code: string; param: string | null; message: string };

/** What the client is told; undefined when the request is valid. Anything but a Failure is thrown on. */
export function refusal(parse: () => unknown): Refusal | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { code, param, message } = error.toErrorObject();
    return { status: error.status, code, param, message };
  }
}
