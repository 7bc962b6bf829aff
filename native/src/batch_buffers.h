// The arrays of one batch. They outlive the context, because JavaScript shares them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "llama.h"
#include "napi.h"

// Most alternatives whose log-probabilities one token brings (API.md section 2).
constexpr int32_t maxLogprobs = 20;

// What a step is to decode.
struct BatchInput {
    std::vector<llama_token> tokens;
    std::vector<llama_pos> positions;
    std::vector<llama_seq_id> sequences;
    std::vector<int8_t> outputs;  // 1 = sample after this token

    explicit BatchInput(size_t size = 0) : tokens(size), positions(size), sequences(size), outputs(size) {}
};

// That and what a step answers, shared with JavaScript as typed arrays.
struct BatchBuffers : BatchInput {
    std::vector<llama_token> sampled;  // one per output, in batch order
    // Per output a row of 1 + maxLogprobs: the sampled token, then the most likely ones. Written only for sequences that want it.
    std::vector<llama_token> topTokens;
    std::vector<float> logprobs;

    BatchBuffers(size_t size, size_t outputsMax) :
        BatchInput(size), sampled(size), topTokens(outputsMax * (maxLogprobs + 1)), logprobs(outputsMax * (maxLogprobs + 1)) {}
};

// The buffers as JavaScript sees them: { tokens, positions, sequences: Int32Array, outputs: Int8Array, sampled: Int32Array }, each
// n_batch long, and { topTokens: Int32Array, logprobs: Float32Array }, a row of 1 + 20 per output.
Napi::Object shareBuffers(Napi::Env env, const std::shared_ptr<BatchBuffers> & batch);
