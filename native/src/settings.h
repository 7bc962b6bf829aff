// JavaScript settings objects as llama.cpp's structures. Every value is checked: what arrives here may still be wrong.
#pragma once

#include "common.h"
#include "llama.h"
#include "napi.h"

// { contextTokens, batchTokens, microBatchTokens, sequences, threads, flashAttention: "auto"|"on"|"off",
//   keyType, valueType: "f16"|"q8_0"|"q4_0", unified: boolean }
llama_context_params parseContextParams(Napi::Object options);

// { seed, temperature, topK, topP, minP, repeatPenalty, repeatLastN, frequencyPenalty, presencePenalty,
//   logitBias: [token, bias][] }
common_params_sampling parseSampling(Napi::Object settings, int32_t vocabSize);
