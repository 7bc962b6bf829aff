// A llama_context that makes one vector of every token sequence, many sequences in one batch. No JavaScript here: it is made and
// works on a pool thread. Keeps nothing between calls.
#pragma once

#include <cstdint>
#include <vector>

#include "context_handle.h"
#include "llama.h"

using TokenSequence = std::vector<llama_token>;

class Embedder {
  public:
    // Throws std::exception when llama.cpp refuses, or the model does not pool its vectors.
    // splits: an input longer than a batch is fed in several, see Pooling::splits.
    Embedder(llama_model * model, const llama_context_params & params, bool splits);

    int32_t width() const { return width_; }  // numbers in one vector
    int32_t batchTokens() const { return batchTokens_; }
    int32_t inputTokens() const { return inputTokens_; }  // of the longest input

    // Throws std::exception that says why these inputs cannot be one batch. Cheap.
    void expectBatch(const std::vector<TokenSequence> & inputs) const;

    // One row of width() per input, in order. Throws std::exception; the next call works all the same.
    std::vector<float> embed(const std::vector<TokenSequence> & inputs);

    // LoRA adapters of the model, as applyAdapters() takes them.
    void useAdapters(const std::vector<llama_adapter_lora *> & adapters, std::vector<float> scales);

    // A running embed() throws soon.
    void abort() { handle_.abort = true; }

  private:
    void add(const TokenSequence & input, llama_seq_id sequence, size_t from, size_t count);
    void decodeSplit(const TokenSequence & input);
    void decode();
    void forget();

    ContextHandle handle_;
    const llama_vocab * vocab_;
    bool encodes_;
    bool splits_;
    int32_t width_ = 0;
    int32_t batchTokens_ = 0;
    int32_t inputTokens_ = 0;
    std::vector<llama_token> tokens_;
    std::vector<llama_pos> positions_;
    std::vector<llama_seq_id> sequences_;
    std::vector<llama_seq_id *> sequencePointers_;
    std::vector<int32_t> sequenceCounts_;  // all 1: every token belongs to one sequence
    std::vector<int8_t> outputs_;          // all 1: every token's vector goes into the pool
};
