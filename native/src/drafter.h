// A small model that guesses how texts go on, through llama.cpp's common_speculative_*. No JavaScript here: it is made and works on
// a pool thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "context_handle.h"
#include "llama.h"
#include "speculative.h"

class Drafter {
  public:
    // What to guess for: the text is what `sequence` holds up to `keep`, then `read`, then `last`.
    struct Request {
        llama_seq_id sequence;
        llama_pos keep;
        std::vector<llama_token> read;
        llama_token last;
        int32_t most;  // guesses; 0: only `read` is read
    };

    struct Draft {
        std::vector<llama_token> guesses;
        llama_pos length;  // tokens that the sequence holds then, of the text and the guesses after it
    };

    // mostGuesses: for one request. A guess that the model gives less than leastProbability, among its ten best, ends a draft.
    // Throws std::exception when llama.cpp refuses.
    Drafter(llama_model * model, const llama_context_params & params, int32_t mostGuesses, float leastProbability);

    // Throws std::exception that says why these cannot be asked for together. Cheap.
    void expectRequests(const std::vector<Request> & requests) const;

    // One draft for each, in order. Throws std::exception; the sequences may hold anything then. Once closed it always throws.
    std::vector<Draft> draft(const std::vector<Request> & requests);

    llama_context * context() const { return handle_->get(); }

    // Frees the context; a running draft() is aborted first. From any thread, once.
    void close();

  private:
    void expectRequest(const Request & request) const;
    void read(const std::vector<Request> & requests);
    void guess(const std::vector<Request> & requests, std::vector<Draft> & drafts);
    llama_pos decodedLength(const Request & request, const Draft & draft) const;
    llama_pos held(llama_seq_id sequence) const;

    int32_t mostGuesses_;
    int32_t vocabSize_;
    std::mutex mutex_;  // of what follows, while drafts are made
    std::optional<ContextHandle> handle_;
    common_speculative_ptr speculative_;
};
