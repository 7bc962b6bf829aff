// One sequence's sampler: equal seed, settings and logits give llama-server's token. The fast path finds the top-k candidates in
// one pass over the logits and hands only those, sorted, to llama.cpp's own samplers; settings that need the whole vocabulary
// use llama.cpp's whole chain.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "llama.h"
#include "sampling.h"

class Sampler {
  public:
    // Throws std::exception on settings or a grammar that llama.cpp refuses. Slow with a grammar, fast without.
    Sampler(const llama_model * model, common_params_sampling params);

    // The tokens before the answer, for the windows of the penalties.
    void acceptPrompt(std::span<const llama_token> prompt);

    // Samples from the logits of batch position `index` and remembers the token. May change those logits (bias).
    llama_token sample(llama_context * context, int32_t index);

  private:
    llama_token sampleFast(float * logits);

    struct SamplerDeleter {
        void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
    };

    int32_t vocabSize_;
    size_t window_ = 0;  // nothing looks further back than this
    int32_t topK_ = 0;  // candidates of the fast path; 1 = greedy
    std::vector<llama_logit_bias> bias_;
    std::unique_ptr<llama_sampler, SamplerDeleter> fast_;  // null: the whole chain below
    common_sampler_ptr full_;
    std::vector<llama_token_data> candidates_;
};

struct TokenLogprob {
    llama_token token;
    float logprob;  // natural logarithm of the softmax over the raw logits
};

// Log-probabilities of the `count` most likely tokens, most likely first, from logits that nothing has changed yet; and the
// softmax's normaliser, so that logit - normaliser is the log-probability of any token.
float topLogprobs(const float * logits, int32_t vocabSize, int32_t count, std::vector<TokenLogprob> & top);

// The k tokens with the largest logits, largest first, equal ones by id. NaN never counts. O(n) for small k.
void selectTopK(const float * logits, int32_t count, int32_t k, std::vector<llama_token_data> & selected);
