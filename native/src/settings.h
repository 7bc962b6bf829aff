// JavaScript settings objects as llama.cpp's structures. Every value is checked: what arrives here may still be wrong.
#pragma once

#include "common.h"
#include "llama.h"
#include "napi.h"

// { contextTokens, batchTokens, microBatchTokens, sequences, threads, flashAttention: "auto"|"on"|"off",
//   keyType, valueType: "f16"|"q8_0"|"q4_0", unified: boolean } and, if wanted, draftTokens
llama_context_params parseContextParams(Napi::Object options);

// { seed, temperature, topK, topP, minP, repeatPenalty, repeatLastN, frequencyPenalty, presencePenalty,
//   logitBias: [token, bias][] } and, if wanted: typicalP, topNSigma, dynatempRange, dynatempExponent, xtcProbability,
//   xtcThreshold, dryMultiplier, dryBase, dryAllowedLength, dryPenaltyLastN, drySequenceBreakers: string[], mirostat,
//   mirostatTau, mirostatEta, samplers: string[]
common_params_sampling parseSampling(Napi::Object settings, int32_t vocabSize);

// { kind: "none"|"user"|"template", grammar, lazy, generationPrompt, triggers: { type, value, token }[],
//   thinkingStartTag, thinkingEndTags: string[], budgetTokens, budgetMessage }, the middle ones as renderChat() gives them
void parseConstraint(Napi::Object constraint, const llama_vocab * vocab, common_params_sampling & params);
