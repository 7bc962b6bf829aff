// The arrays of one batch. They outlive the context, because JavaScript shares them.
#pragma once

#include <algorithm>
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

// What a step is to compute.
struct BatchInput {
    std::vector<llama_token> tokens;
    std::vector<llama_pos> positions;
    std::vector<llama_seq_id> sequences;
    std::vector<int8_t> outputs;       // 1 = sample after this token, 2 = score the token that follows it
    std::vector<llama_token> targets;  // that token, where outputs is 2

    explicit BatchInput(size_t size = 0) : tokens(size), positions(size), sequences(size), outputs(size), targets(size) {}

    // The first `count` entries of one that is at least as large.
    void copyFrom(const BatchInput & other, size_t count) {
        std::copy_n(other.tokens.begin(), count, tokens.begin());
        std::copy_n(other.positions.begin(), count, positions.begin());
        std::copy_n(other.sequences.begin(), count, sequences.begin());
        std::copy_n(other.outputs.begin(), count, outputs.begin());
        std::copy_n(other.targets.begin(), count, targets.begin());
    }

    // An output right after another one of its sequence: the token there was only guessed.
    bool isDraft(size_t i) const {
        return i > 0 && outputs[i - 1] == 1 && outputs[i] == 1 && sequences[i - 1] == sequences[i];
    }
};

// What a step answers.
struct BatchOutput {
    std::vector<llama_token> sampled;  // one per output, in batch order; the target where one was scored, LLAMA_TOKEN_NULL where
                                       // none could be sampled or the one before it was not the draft
    // Per output a row of 1 + maxLogprobs: the sampled or scored token, then the most likely ones. Written for every scored token, and
    // for sampled ones of sequences that want it.
    std::vector<llama_token> topTokens;
    std::vector<float> logprobs;

    explicit BatchOutput(size_t size = 0, size_t outputsMax = 0) :
        sampled(size), topTokens(outputsMax * (maxLogprobs + 1)), logprobs(outputsMax * (maxLogprobs + 1)) {}

    // Most outputs of a step.
    size_t rows() const { return logprobs.size() / (maxLogprobs + 1); }

    // The first `count` outputs of one that is as large.
    void copyFrom(const BatchOutput & other, size_t count) {
        std::copy_n(other.sampled.begin(), count, sampled.begin());
        std::copy_n(other.topTokens.begin(), count * (maxLogprobs + 1), topTokens.begin());
        std::copy_n(other.logprobs.begin(), count * (maxLogprobs + 1), logprobs.begin());
    }
};

// Both, shared with JavaScript as typed arrays.
struct BatchBuffers : BatchInput, BatchOutput {
    BatchBuffers(size_t size, size_t outputsMax) : BatchInput(size), BatchOutput(size, outputsMax) {}
};

// { tokens, positions, sequences, targets, sampled: Int32Array, outputs: Int8Array }, each n_batch long, and
// { topTokens: Int32Array, logprobs: Float32Array }: a row of 1 + 20 per output. The arrays share ownership of the memory, so they
// stay valid after the context.
Napi::Object shareBuffers(Napi::Env env, const std::shared_ptr<BatchBuffers> & batch);
