#include "logprob_row.h"

#include "logits.h"

LogprobRow::LogprobRow(BatchOutput & batch, int32_t output, const float * logits, int32_t vocabSize, int32_t count) :
    batch_(batch), begin_(output * (maxLogprobs + 1)) {
    std::vector<TokenLogprob> top;
    normaliser_ = topLogprobs(logits, vocabSize, count, top);
    for (size_t i = 0; i < top.size(); i++) {
        batch_.topTokens[begin_ + 1 + i] = top[i].token;
        batch_.logprobs[begin_ + 1 + i] = top[i].logprob;
    }
}

void LogprobRow::setToken(llama_token token, float logit) {
    batch_.topTokens[begin_] = token;
    batch_.logprobs[begin_] = logit - normaliser_;
}
