// What the mock engine says about the model that it does not have.
import type { ModelInfo } from "./engine.ts";

export const mockTokens = {
  /** Begins every prompt. */
  begin: 1,
  /** Ends an answer; nobody says it. */
  end: 2,
  /** Byte b is token b + 3. */
  firstByte: 3,
  vocabSize: 3 + 256,
};

type MockModel = {
  readonly name?: string | undefined;
  readonly contextTokens?: number | undefined;
  readonly template?: string | undefined;
};

export function describeMock({ name = "mock", contextTokens = 16384, template = "" }: MockModel): ModelInfo {
  return {
    name,
    created: Math.floor(Date.now() / 1000),
    buildId: "b0-mock",
    contextTokens,
    trainContextTokens: contextTokens,
    vocabType: 0,
    vocabSize: mockTokens.vocabSize,
    embeddingLength: 0,
    parameters: 0,
    sizeBytes: 0,
    ftype: "mock",
    chatTemplate: { source: template, caps: {} },
    bosToken: "",
    eosToken: "",
    endTokens: [mockTokens.end],
    fim: null,
    loraScales: [],
  };
}
