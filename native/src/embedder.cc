#include "embedder.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "adapters.h"

namespace {

// What makes a context one for embeddings. Encoders see a whole batch in one pass, so both sizes are the same.
llama_context_params forEmbeddings(llama_context_params params) {
    params.embeddings = true;
    params.pooling_type = LLAMA_POOLING_TYPE_UNSPECIFIED;  // the model's own
    params.n_ubatch = params.n_batch;
    params.n_outputs_max = 0;  // every token is an output
    params.kv_unified = true;
    return params;
}

}  // namespace

Embedder::Embedder(llama_model * model, const llama_context_params & params, bool splits) :
    handle_(model, forEmbeddings(params)),
    vocab_(llama_model_get_vocab(model)),
    encodes_(llama_model_has_encoder(model)),
    splits_(splits && llama_get_memory(handle_.get()) != nullptr) {
    const llama_context * context = handle_.get();
    const auto pooling = llama_pooling_type(context);
    if (pooling == LLAMA_POOLING_TYPE_NONE) throw std::runtime_error("the model does not say how to pool its vectors");
    width_ = pooling == LLAMA_POOLING_TYPE_RANK ? llama_model_n_cls_out(model) : llama_model_n_embd_out(model);
    batchTokens_ = std::min(llama_n_batch(context), llama_n_ubatch(context));
    // Positions beyond the trained ones would be read outside the model's table of positions, if it has one.
    const int32_t known = std::min<int32_t>(llama_n_ctx(context), llama_model_n_ctx_train(model));
    inputTokens_ = splits_ ? known : std::min(known, batchTokens_);

    tokens_.resize(batchTokens_);
    positions_.resize(batchTokens_);
    sequences_.resize(batchTokens_);
    sequenceCounts_.assign(batchTokens_, 1);
    outputs_.assign(batchTokens_, 1);
    for (auto & sequence : sequences_) sequencePointers_.push_back(&sequence);
    tokens_.clear();
}

void Embedder::useAdapters(const std::vector<llama_adapter_lora *> & adapters, std::vector<float> scales) {
    applyAdapters(handle_.get(), adapters, std::move(scales));
}

void Embedder::expectBatch(const std::vector<TokenSequence> & inputs) const {
    if (inputs.empty() || inputs.size() > llama_n_seq_max(handle_.get())) throw std::out_of_range("a batch takes 1 to n_seq_max inputs");
    size_t total = 0;
    for (const TokenSequence & input : inputs) {
        if (input.empty() || static_cast<int64_t>(input.size()) > inputTokens_) {
            throw std::out_of_range("an input takes 1 to " + std::to_string(inputTokens_) + " tokens");
        }
        for (const llama_token token : input) {
            if (token < 0 || token >= llama_vocab_n_tokens(vocab_)) throw std::out_of_range("token outside the vocabulary");
        }
        total += input.size();
    }
    if (inputs.size() > 1 && static_cast<int64_t>(total) > batchTokens_) throw std::out_of_range("more tokens than one batch takes");
}

std::vector<float> Embedder::embed(const std::vector<TokenSequence> & inputs) {
    forget();
    if (inputs.size() == 1) {
        decodeSplit(inputs[0]);
    } else {
        for (size_t i = 0; i < inputs.size(); i++) add(inputs[i], i, 0, inputs[i].size());
        decode();
    }
    std::vector<float> rows;
    rows.reserve(inputs.size() * width_);
    for (size_t i = 0; i < inputs.size(); i++) {
        const float * row = llama_get_embeddings_seq(handle_.get(), i);
        if (row == nullptr) throw std::runtime_error("llama.cpp has no vector for an input");
        rows.insert(rows.end(), row, row + width_);
    }
    forget();
    return rows;
}

// One input: in one batch when it fits, else in several, of which the last one's vector counts.
void Embedder::decodeSplit(const TokenSequence & input) {
    for (size_t from = 0; from < input.size(); from += batchTokens_) {
        add(input, 0, from, std::min<size_t>(input.size() - from, batchTokens_));
        decode();
    }
}

void Embedder::add(const TokenSequence & input, llama_seq_id sequence, size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) {
        const size_t place = tokens_.size();
        positions_[place] = i;
        sequences_[place] = sequence;
        tokens_.push_back(input[i]);
    }
}

void Embedder::decode() {
    const llama_batch batch{ static_cast<int32_t>(tokens_.size()), tokens_.data(), nullptr, positions_.data(),
                             sequenceCounts_.data(), sequencePointers_.data(), outputs_.data() };
    const int32_t status = encodes_ ? llama_encode(handle_.get(), batch) : llama_decode(handle_.get(), batch);
    tokens_.clear();
    if (status == 0) return;
    if (status == 2) throw std::runtime_error("the context was disposed");
    throw std::runtime_error("llama.cpp failed on a batch of embeddings with status " + std::to_string(status));
}

// Also what a failed call left behind.
void Embedder::forget() {
    tokens_.clear();
    if (llama_memory_t memory = llama_get_memory(handle_.get())) llama_memory_clear(memory, false);
}
