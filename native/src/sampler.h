// One sequence's sampler: equal seed, settings and logits give llama-server's token. llama.cpp's own chain decides; where the chain
// cuts to the top k, those are found in one pass over the logits and only they go through what follows. A grammar judges the one
// sampled token first, and others only when it refuses that.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "grammar.h"
#include "llama.h"
#include "sampling.h"

// The grammar is not complete, and no token of the vocabulary that may be sampled continues it.
class GrammarDeadEnd : public std::runtime_error {
  public:
    GrammarDeadEnd() : std::runtime_error("no token that may be sampled continues the text") {}
};

class Sampler {
  public:
    // `texts` is needed with a grammar. Throws std::exception on settings or a grammar that cannot be used; slow with a grammar.
    Sampler(const llama_model * model, common_params_sampling params, std::shared_ptr<const TokenTexts> texts = nullptr);

    // The tokens before the answer, for the windows of the penalties.
    void acceptPrompt(std::span<const llama_token> prompt);

    // Samples from a vocabulary's logits and remembers the token. The logits are the same afterwards. Throws
    // GrammarTooComplex, GrammarDeadEnd, or another std::exception when no token can be sampled.
    llama_token sample(float * logits);

  private:
    class ChangedLogits;
    struct Stage {
        common_sampler_type type;
        llama_sampler * sampler;  // the chain's
    };

    void startBudget(const llama_vocab * vocab, const common_params_sampling & params);
    std::vector<Stage> activeStages(const common_params_sampling & params) const;
    void planShortcut(const common_params_sampling & params);
    bool grammarApplies() const;
    // constrained: only from what the grammar allows.
    llama_token sampleShort(float * logits, bool constrained);
    llama_token sampleWhole(const float * logits, bool constrained);
    void selectAllowed(const float * logits);
    llama_token endOrThrow() const;
    void accept(llama_token token);
    void remember(llama_token token);

    struct SamplerDeleter {
        void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
    };

    const llama_vocab * vocab_;
    int32_t vocabSize_;
    bool lazyGrammar_;
    common_sampler_ptr chain_;  // without grammar and reasoning budget, which are below
    std::unique_ptr<llama_sampler, SamplerDeleter> budget_;
    std::optional<Grammar> grammar_;

    // The shortcut: `early_` change the logits of single tokens, then the top k are taken, then `rest_` work on those.
    int32_t topK_ = 0;  // 0 = no shortcut, the whole vocabulary goes through the chain; 1 = greedy
    std::vector<llama_logit_bias> bias_;
    std::vector<llama_sampler *> early_;
    std::vector<llama_sampler *> rest_;
    bool plainRest_ = false;  // no matter to `rest_` whether tokens that the grammar forbids are among the candidates

    size_t window_ = 0;  // no sampler looks further back than this
    std::deque<llama_token> recent_;
    std::unordered_map<llama_token, int32_t> recentCounts_;

    std::vector<llama_token_data> candidates_;
    std::vector<char> allowed_;
};
