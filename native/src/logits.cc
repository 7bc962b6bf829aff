#include "logits.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace {

constexpr int32_t blockSize = 64;

// One vectorised look per block: may anything in it exceed the threshold?
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
bool anyAbove(const float * values, float threshold) {
    int found = 0;
    for (int32_t i = 0; i < blockSize; i++) found |= values[i] > threshold;
    return found != 0;
}

}  // namespace

// As a heap comparator it keeps the worst candidate in front.
bool moreLikely(const llama_token_data & a, const llama_token_data & b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

void selectTopK(const float * logits, int32_t count, int32_t k, std::vector<llama_token_data> & selected) {
    selected.clear();
    const size_t wanted = std::min(k, count);
    float threshold = -INFINITY;
    const auto offer = [&](llama_token token) {
        const float logit = logits[token];
        if (selected.size() == wanted) {
            if (!(logit > threshold)) return;
            std::pop_heap(selected.begin(), selected.end(), moreLikely);
            selected.back() = { token, logit, 0.0f };
        } else {
            if (std::isnan(logit)) return;
            selected.push_back({ token, logit, 0.0f });
        }
        std::push_heap(selected.begin(), selected.end(), moreLikely);
        if (selected.size() == wanted) threshold = selected.front().logit;
    };
    int32_t token = 0;
    for (; token + blockSize <= count; token += blockSize) {
        if (selected.size() == wanted && !anyAbove(logits + token, threshold)) continue;
        for (int32_t i = 0; i < blockSize; i++) offer(token + i);
    }
    for (; token < count; token++) offer(token);
    std::sort(selected.begin(), selected.end(), moreLikely);
}

float topLogprobs(const float * logits, int32_t vocabSize, int32_t count, std::vector<TokenLogprob> & top) {
    std::vector<llama_token_data> best;
    selectTopK(logits, vocabSize, std::max(count, 1), best);
    if (best.empty()) throw std::runtime_error("the model's logits are not numbers");
    const float largest = best.front().logit;
    double sum = 0;
    for (int32_t i = 0; i < vocabSize; i++) sum += std::exp(logits[i] - largest);
    const float normaliser = largest + static_cast<float>(std::log(sum));
    top.clear();
    for (int32_t i = 0; i < count && i < static_cast<int32_t>(best.size()); i++) {
        top.push_back({ best[i].id, best[i].logit - normaliser });
    }
    return normaliser;
}
