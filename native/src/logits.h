// What is read off a vocabulary's logits in one pass: the most likely tokens and their log-probabilities. Changes nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "llama.h"

// True: a comes before b. Larger logit first, then smaller id.
bool moreLikely(const llama_token_data & a, const llama_token_data & b);

// The k tokens with the largest logits, largest first, equal ones by id. NaN never counts. O(n) for small k.
void selectTopK(const float * logits, int32_t count, int32_t k, std::vector<llama_token_data> & selected);

struct TokenLogprob {
    llama_token token;
    float logprob;  // natural logarithm of the softmax over the raw logits
};

// Log-probabilities of the `count` most likely tokens, most likely first; and the softmax's normaliser, so that
// logit - normaliser is the log-probability of any token. Throws std::runtime_error when the logits are not numbers.
float topLogprobs(const float * logits, int32_t vocabSize, int32_t count, std::vector<TokenLogprob> & top);
