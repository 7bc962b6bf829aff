#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "logits.h"
#include "reasoning-budget.h"

namespace {

// Above this many candidates a sorted heap costs more than llama.cpp's bucket sort.
constexpr int32_t maxShortcutTopK = 256;

// Changes the logits only of tokens that it has seen lately.
bool lookback(common_sampler_type type) { return type == COMMON_SAMPLER_TYPE_PENALTIES || type == COMMON_SAMPLER_TYPE_DRY; }

// Never moves the most likely token from its place.
bool keepsMostLikely(common_sampler_type type) {
    return type == COMMON_SAMPLER_TYPE_TOP_K || type == COMMON_SAMPLER_TYPE_TOP_P || type == COMMON_SAMPLER_TYPE_MIN_P ||
           type == COMMON_SAMPLER_TYPE_TEMPERATURE;
}

}  // namespace

// Logits with the biases and penalties of single tokens, for as long as it lives.
class Sampler::ChangedLogits {
  public:
    ChangedLogits(Sampler & sampler, float * logits) : logits_(logits) {
        for (const auto & bias : sampler.bias_) change(bias.token, logits[bias.token] + bias.bias);
        if (sampler.early_.empty() || sampler.recent_.empty()) return;
        std::vector<llama_token_data> recent;
        for (const auto & [token, count] : sampler.recentCounts_) recent.push_back({ token, logits[token], 0.0f });
        llama_token_data_array array{ recent.data(), recent.size(), -1, false };
        for (llama_sampler * early : sampler.early_) llama_sampler_apply(early, &array);
        for (const auto & changed : recent) change(changed.id, changed.logit);
    }
    ~ChangedLogits() {
        for (auto saved = saved_.rbegin(); saved != saved_.rend(); saved++) logits_[saved->token] = saved->logit;
    }
    ChangedLogits(const ChangedLogits &) = delete;
    ChangedLogits & operator=(const ChangedLogits &) = delete;

  private:
    void change(llama_token token, float logit) {
        saved_.push_back({ token, logits_[token] });
        logits_[token] = logit;
    }

    struct Saved {
        llama_token token;
        float logit;
    };
    float * logits_;
    std::vector<Saved> saved_;
};

Sampler::Sampler(const llama_model * model, common_params_sampling params, std::shared_ptr<const TokenTexts> texts) :
    vocab_(llama_model_get_vocab(model)), vocabSize_(llama_vocab_n_tokens(vocab_)), lazyGrammar_(params.grammar_lazy) {
    params.no_perf = true;
    startBudget(vocab_, params);
    if (!params.grammar.empty()) grammar_.emplace(vocab_, params, std::move(texts));
    params.grammar = {};
    params.grammar_triggers.clear();
    params.generation_prompt.clear();
    params.reasoning_budget_start.clear();
    chain_.reset(common_sampler_init(model, params));
    planShortcut(params);
}

// As llama-server decides whether there is one.
void Sampler::startBudget(const llama_vocab * vocab, const common_params_sampling & params) {
    const bool wanted = params.grammar_lazy || params.reasoning_budget_tokens >= 0;
    if (!wanted || params.reasoning_budget_start.empty() || params.reasoning_budget_end.empty()) return;
    const int32_t tokens = params.reasoning_budget_tokens < 0 ? INT32_MAX : params.reasoning_budget_tokens;
    budget_.reset(common_reasoning_budget_init(vocab, { params.reasoning_budget_start }, params.reasoning_budget_end,
                                               params.reasoning_budget_forced, tokens));
    for (const llama_token token : tokenizeBeginning(vocab, params.generation_prompt)) llama_sampler_accept(budget_.get(), token);
}

// The samplers that do anything, between the biases, which common_sampler_init() puts first, and the choice.
std::vector<Sampler::Stage> Sampler::activeStages(const common_params_sampling & params) const {
    llama_sampler * chain = common_sampler_get(chain_.get());
    const int first = llama_sampler_chain_n(chain) - 1 - static_cast<int>(params.samplers.size());
    std::vector<Stage> stages;
    for (size_t i = 0; i < params.samplers.size(); i++) {
        llama_sampler * sampler = llama_sampler_chain_get(chain, first + static_cast<int>(i));
        if (llama_sampler_name(sampler)[0] != '?') stages.push_back({ params.samplers[i], sampler });
    }
    return stages;
}

void Sampler::planShortcut(const common_params_sampling & params) {
    if (params.mirostat != 0) return;
    const auto stages = activeStages(params);
    const auto firstLate = std::find_if_not(stages.begin(), stages.end(), [](const Stage & stage) { return lookback(stage.type); });
    const std::span<const Stage> late(firstLate, stages.end());
    for (const auto & stage : stages) {
        if (stage.type == COMMON_SAMPLER_TYPE_PENALTIES) window_ = std::max<size_t>(window_, params.penalty_last_n);
        if (stage.type == COMMON_SAMPLER_TYPE_DRY) window_ = std::max<size_t>(window_, params.dry_penalty_last_n);
    }

    const auto keeps = [](const Stage & stage) { return keepsMostLikely(stage.type); };
    const auto tempers = [](const Stage & stage) { return stage.type == COMMON_SAMPLER_TYPE_TEMPERATURE; };
    plainRest_ = params.dynatemp_range <= 0.0f && std::all_of(late.begin(), late.end(), keeps);
    const bool tempered = std::any_of(late.begin(), late.end(), tempers);
    if (plainRest_ && tempered && params.temp <= 0.0f) {
        topK_ = 1;
    } else if (!late.empty() && late.front().type == COMMON_SAMPLER_TYPE_TOP_K && params.top_k <= maxShortcutTopK) {
        topK_ = params.top_k;
        for (const auto & stage : late.subspan(1)) rest_.push_back(stage.sampler);
        llama_sampler * chain = common_sampler_get(chain_.get());
        rest_.push_back(llama_sampler_chain_get(chain, llama_sampler_chain_n(chain) - 1));
    }
    if (topK_ == 0) return;
    for (const auto & stage : std::span(stages.begin(), firstLate)) early_.push_back(stage.sampler);
    bias_ = params.logit_bias;
    int32_t suppressedCount = 0;
    const llama_token * suppressed = llama_vocab_get_suppress_tokens(vocab_, &suppressedCount);
    for (int32_t i = 0; i < suppressedCount; i++) bias_.push_back({ suppressed[i], -INFINITY });
}

void Sampler::acceptPrompt(std::span<const llama_token> prompt) {
    for (const llama_token token : prompt.last(std::min(prompt.size(), window_))) remember(token);
}

llama_token Sampler::sample(float * logits) {
    const bool restricted = grammarApplies() && grammar_->restricts();
    const bool forced = common_reasoning_budget_get_state(budget_.get()) == REASONING_BUDGET_FORCING;
    const bool shortcut = topK_ > 0 && !forced;
    if (restricted) grammar_->matcher().startToken();
    llama_token token = shortcut ? sampleShort(logits, false) : sampleWhole(logits, false);
    if (restricted && !grammar_->matcher().allows(token)) {
        token = shortcut && plainRest_ ? sampleShort(logits, true) : sampleWhole(logits, true);
    }
    accept(token);
    return token;
}

llama_token Sampler::sampleShort(float * logits, bool constrained) {
    const ChangedLogits changed(*this, logits);
    if (constrained) selectAllowed(logits);
    else selectTopK(logits, vocabSize_, topK_, candidates_);
    if (constrained && (candidates_.empty() || candidates_.front().logit == -INFINITY)) return endOrThrow();
    if (candidates_.empty()) throw std::runtime_error("the model's logits are not numbers");
    if (topK_ == 1) return candidates_.front().id;
    llama_token_data_array array{ candidates_.data(), candidates_.size(), -1, true };
    for (llama_sampler * sampler : rest_) llama_sampler_apply(sampler, &array);
    return array.data[array.selected].id;
}

llama_token Sampler::sampleWhole(const float * logits, bool constrained) {
    if (constrained) grammar_->matcher().findAllowed(allowed_);
    candidates_.resize(vocabSize_);
    for (llama_token token = 0; token < vocabSize_; token++) candidates_[token] = { token, logits[token], 0.0f };
    llama_token_data_array array{ candidates_.data(), candidates_.size(), -1, false };
    if (budget_) llama_sampler_apply(budget_.get(), &array);
    for (auto & candidate : candidates_) {
        if (constrained && !allowed_[candidate.id]) candidate.logit = -INFINITY;
    }
    llama_sampler_apply(common_sampler_get(chain_.get()), &array);
    if (array.selected < 0) throw std::runtime_error("the samplers chose no token");
    if (constrained && array.data[array.selected].logit == -INFINITY) return endOrThrow();
    return array.data[array.selected].id;
}

// The top k of the tokens that the grammar allows. They are mostly among the likely ones; where not, all are asked.
void Sampler::selectAllowed(const float * logits) {
    auto & matcher = grammar_->matcher();
    selectTopK(logits, vocabSize_, 4 * topK_ + 28, candidates_);
    std::erase_if(candidates_, [&](const llama_token_data & candidate) { return !matcher.allows(candidate.id); });
    if (candidates_.size() < static_cast<size_t>(topK_)) {
        matcher.findAllowed(allowed_);
        candidates_.clear();
        for (llama_token token = 0; token < vocabSize_; token++) {
            if (allowed_[token] && !std::isnan(logits[token])) candidates_.push_back({ token, logits[token], 0.0f });
        }
    }
    const size_t kept = std::min(candidates_.size(), static_cast<size_t>(topK_));
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(kept), candidates_.end(), moreLikely);
    candidates_.resize(kept);
}

// The grammar and the biases together leave no token. Where the grammar is complete the answer ends.
llama_token Sampler::endOrThrow() const {
    if (grammar_->complete()) {
        for (llama_token token = 0; token < vocabSize_; token++) {
            if (llama_vocab_is_eog(vocab_, token)) return token;
        }
    }
    throw GrammarDeadEnd();
}

// As llama-server: with a lazy grammar, what is thought about tools triggers nothing.
bool Sampler::grammarApplies() const {
    if (!grammar_ || !budget_ || !lazyGrammar_) return grammar_.has_value();
    const auto state = common_reasoning_budget_get_state(budget_.get());
    return state == REASONING_BUDGET_IDLE || state == REASONING_BUDGET_DONE;
}

void Sampler::accept(llama_token token) {
    const bool applies = grammarApplies();
    if (budget_) llama_sampler_accept(budget_.get(), token);
    if (applies) {
        grammar_->accept(token);
    } else if (grammar_ && common_reasoning_budget_get_state(budget_.get()) == REASONING_BUDGET_DONE) {
        // The end of thinking may be what triggers the grammar.
        const llama_tokens * end = common_reasoning_budget_get_end_match(budget_.get());
        for (size_t i = 0; end != nullptr && i < end->size(); i++) grammar_->accept((*end)[i]);
    }
    remember(token);
}

void Sampler::remember(llama_token token) {
    common_sampler_accept(chain_.get(), token, false);
    if (early_.empty()) return;
    recent_.push_back(token);
    recentCounts_[token]++;
    if (recent_.size() <= window_) return;
    const auto oldest = recentCounts_.find(recent_.front());
    if (--oldest->second == 0) recentCounts_.erase(oldest);
    recent_.pop_front();
}
