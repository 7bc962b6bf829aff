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

// Most prompt tokens of one step that are scored (outputs = 2), all sequences together: each needs a row of logits.
constexpr int32_t maxScored = 32;

// What a step is to decode.
struct BatchInput {
    std::vector<llama_token> tokens;
    std::vector<llama_pos> positions;
    std::vector<llama_seq_id> sequences;
    std::vector<int8_t> outputs;       // 1 = sample after this token, 2 = score the token that follows it
    std::vector<llama_token> targets;  // that token, where outputs is 2

    explicit BatchInput(size_t size = 0) : tokens(size), positions(size), sequences(size), outputs(size), targets(size) {}
};

// That and what a step answers, shared with JavaScript as typed arrays.
struct BatchBuffers : BatchInput {
    std::vector<llama_token> sampled;  // one per output, in batch order; the target where one was scored
    // Per output a row of 1 + maxLogprobs: the sampled or scored token, then the most likely ones. Written for every scored token, and
    // for sampled ones of sequences that want it.
    std::vector<llama_token> topTokens;
    std::vector<float> logprobs;

    // Most outputs of a step.
    size_t rows() const { return logprobs.size() / (maxLogprobs + 1); }

    BatchBuffers(size_t size, size_t outputsMax) :
        BatchInput(size), sampled(size), topTokens(outputsMax * (maxLogprobs + 1)), logprobs(outputsMax * (maxLogprobs + 1)) {}
};

// The buffers as JavaScript sees them: { tokens, positions, sequences, targets, sampled: Int32Array, outputs: Int8Array }, each
// n_batch long, and { topTokens: Int32Array, logprobs: Float32Array }, a row of 1 + 20 per output.
Napi::Object shareBuffers(Napi::Env env, const std::shared_ptr<BatchBuffers> & batch);
