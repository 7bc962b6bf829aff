// What the mock engine says of its model, whose tokens are bytes.
import type { ModelInfo } from "./engine.ts";
import type { MockEngineOptions } from "./mock-engine.ts";

export const mockTokens = {
  /** Begins every prompt. */
  begin: 1,
  /** Ends an answer; nobody says it. */
  end: 2,
  /** Byte b is token b + 3. */
  firstByte: 3,
  vocabSize: 3 + 256,
  /** Bytes that no text has. */
  fim: { prefix: 3 + 0xf8, suffix: 3 + 0xf9, middle: 3 + 0xfa, repository: 3 + 0xfb, file: 3 + 0xfc },
};

export function describeMock({
  name = "mock",
  contextTokens = 16384,
  template = "",
  fim = false,
}: MockEngineOptions): ModelInfo {
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
    fim: fim ? mockTokens.fim : null,
  };
}
