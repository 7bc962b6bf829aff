// The samplers of a context's sequences, and one token from each of a step's outputs: on several threads where that pays, and so
// that the failure of one is not the others'.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "batch_buffers.h"
#include "sampler.h"
#include "sampling_pool.h"

class SequenceSamplers {
  public:
    struct Failure {
        const char * code = nullptr;  // null = there is none
        std::string message;
    };
    // What is to be done with one token's logits.
    struct Output {
        llama_seq_id sequence;
        float * logits;
        llama_token target;  // the prompt's token to be scored; LLAMA_TOKEN_NULL = sample one
        llama_token draft;   // the token this output is after, when it was only guessed; else LLAMA_TOKEN_NULL
    };

    SequenceSamplers(int32_t sequences, int32_t threads, int32_t vocabSize);

    int32_t size() const { return static_cast<int32_t>(sequences_.size()); }
    bool has(llama_seq_id sequence) const { return sequences_[sequence].sampler != nullptr; }
    // logprobs: alternatives to report with each token; < 0 = no log-probabilities.
    void set(llama_seq_id sequence, std::unique_ptr<Sampler> sampler, int32_t logprobs);
    void clear(llama_seq_id sequence) { sequences_[sequence].sampler.reset(); }
    void move(llama_seq_id from, llama_seq_id to);
    void clearAll();
    // Why the sequence's last output has no token.
    const Failure & failure(llama_seq_id sequence) const { return sequences_[sequence].failure; }

    // Row i of `results` gets the token of output i, or LLAMA_TOKEN_NULL: because its sequence got a failure, or because the output
    // before it, of the same sequence, is not the guessed token. And log-probabilities where wanted. Sampled outputs of one sequence
    // follow each other.
    void sample(const std::vector<Output> & outputs, BatchOutput & results);

  private:
    struct Sequence {
        std::unique_ptr<Sampler> sampler;
        int32_t logprobs = -1;
        Failure failure;
    };

    llama_token take(const Output & output, size_t row, BatchOutput & results);
    llama_token sampleOne(const Output & output, size_t row, BatchOutput & results) noexcept;
    llama_token sampleWithLogprobs(const Output & output, size_t row, BatchOutput & results);
    llama_token score(const Output & output, size_t row, BatchOutput & results);

    std::vector<Sequence> sequences_;  // by id
    int32_t vocabSize_;
    SamplingPool pool_;
};
