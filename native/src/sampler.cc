#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace {

// Above this many candidates a sorted heap costs more than llama.cpp's bucket sort.
constexpr int32_t maxFastTopK = 256;
constexpr int32_t blockSize = 64;

bool hasPenalties(const common_params_sampling & p) {
    return p.penalty_last_n != 0 && (p.penalty_repeat != 1.0f || p.penalty_freq != 0.0f || p.penalty_present != 0.0f);
}

// True when top_k, top_p, min_p, temperature and dist are all that the chain would do.
bool fastPathApplies(const common_params_sampling & p) {
    const bool candidatesKnown = p.temp <= 0.0f || (p.top_k > 0 && p.top_k <= maxFastTopK);
    return candidatesKnown && p.mirostat == 0 && !hasPenalties(p) && p.dry_multiplier == 0.0f && p.top_n_sigma < 0.0f &&
           p.typ_p >= 1.0f && p.xtc_probability <= 0.0f && p.dynatemp_range == 0.0f && p.grammar.empty() && p.reasoning_budget_end.empty() &&
           p.samplers == common_params_sampling().samplers;
}

// Better = larger logit, then smaller id. As a heap comparator it keeps the worst candidate in front.
bool better(const llama_token_data & a, const llama_token_data & b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

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

void selectTopK(const float * logits, int32_t count, int32_t k, std::vector<llama_token_data> & selected) {
    selected.clear();
    const size_t wanted = std::min(k, count);
    float threshold = -INFINITY;
    const auto offer = [&](llama_token token) {
        const float logit = logits[token];
        if (selected.size() == wanted) {
            if (!(logit > threshold)) return;
            std::pop_heap(selected.begin(), selected.end(), better);
            selected.back() = { token, logit, 0.0f };
        } else {
            if (std::isnan(logit)) return;
            selected.push_back({ token, logit, 0.0f });
        }
        std::push_heap(selected.begin(), selected.end(), better);
        if (selected.size() == wanted) threshold = selected.front().logit;
    };
    int32_t token = 0;
    for (; token + blockSize <= count; token += blockSize) {
        if (selected.size() == wanted && !anyAbove(logits + token, threshold)) continue;
        for (int32_t i = 0; i < blockSize; i++) offer(token + i);
    }
    for (; token < count; token++) offer(token);
    std::sort(selected.begin(), selected.end(), better);
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

Sampler::Sampler(const llama_model * model, common_params_sampling params) {
    const llama_vocab * vocab = llama_model_get_vocab(model);
    vocabSize_ = llama_vocab_n_tokens(vocab);
    params.no_perf = true;
    if (!fastPathApplies(params)) {
        full_.reset(common_sampler_init(model, params));
        window_ = std::max({ params.penalty_last_n, params.dry_penalty_last_n, params.n_prev, 0 });
        return;
    }
    bias_ = params.logit_bias;
    int32_t suppressedCount = 0;
    const llama_token * suppressed = llama_vocab_get_suppress_tokens(vocab, &suppressedCount);
    for (int32_t i = 0; i < suppressedCount; i++) bias_.push_back({ suppressed[i], -INFINITY });

    topK_ = params.temp <= 0.0f ? 1 : params.top_k;
    auto chainParams = llama_sampler_chain_default_params();
    chainParams.no_perf = true;
    fast_.reset(llama_sampler_chain_init(chainParams));
    llama_sampler_chain_add(fast_.get(), llama_sampler_init_top_p(params.top_p, params.min_keep));
    llama_sampler_chain_add(fast_.get(), llama_sampler_init_min_p(params.min_p, params.min_keep));
    llama_sampler_chain_add(fast_.get(),
                            llama_sampler_init_temp_ext(params.temp, params.dynatemp_range, params.dynatemp_exponent));
    llama_sampler_chain_add(fast_.get(), llama_sampler_init_dist(params.seed));
}

void Sampler::acceptPrompt(std::span<const llama_token> prompt) {
    if (!full_) return;  // the fast path has no memory
    for (const llama_token token : prompt.last(std::min(prompt.size(), window_))) {
        common_sampler_accept(full_.get(), token, false);
    }
}

llama_token Sampler::sample(llama_context * context, int32_t index) {
    if (full_) {
        const llama_token token = common_sampler_sample(full_.get(), context, index);
        common_sampler_accept(full_.get(), token, true);
        return token;
    }
    float * logits = llama_get_logits_ith(context, index);
    if (logits == nullptr) throw std::runtime_error("the step has no logits at this position");
    return sampleFast(logits);
}

llama_token Sampler::sampleFast(float * logits) {
    for (const auto & bias : bias_) logits[bias.token] += bias.bias;
    selectTopK(logits, vocabSize_, topK_, candidates_);
    if (candidates_.empty()) throw std::runtime_error("the model's logits are not numbers");
    if (topK_ == 1) return candidates_.front().id;
    llama_token_data_array array{ candidates_.data(), candidates_.size(), -1, true };
    llama_sampler_apply(fast_.get(), &array);
    const llama_token token = array.data[array.selected].id;
    llama_sampler_accept(fast_.get(), token);
    return token;
}
