#include "prompt_lookup.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "arguments.h"
#include "results.h"

namespace {

constexpr double mostTokens = std::numeric_limits<uint16_t>::max();

common_speculative * createLookup(double repeated, double mostGuesses) {
    if (!(repeated >= 1 && repeated <= mostTokens)) throw std::out_of_range("how many tokens repeat is 1 to 65535");
    if (!(mostGuesses >= 1 && mostGuesses <= mostTokens)) throw std::out_of_range("guesses are 1 to 65535");
    common_params_speculative params;
    params.types = { COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE };
    params.ngram_simple.size_n = static_cast<uint16_t>(repeated);
    params.ngram_simple.size_m = static_cast<uint16_t>(mostGuesses);
    return common_speculative_init(params, 1);
}

}  // namespace

void PromptLookup::define(Napi::Env env, Napi::Object exports) {
    exports.Set("PromptLookup", DefineClass(env, "PromptLookup", { InstanceMethod<&PromptLookup::lookUp>("lookUp") }));
}

PromptLookup::PromptLookup(const Napi::CallbackInfo & info) : Napi::ObjectWrap<PromptLookup>(info) {
    if (!info[0].IsArray()) throw std::invalid_argument("how many tokens repeat is an array");
    const auto sizes = info[0].As<Napi::Array>();
    const double mostGuesses = numberArgument(info[1]);
    for (uint32_t i = 0; i < sizes.Length(); i++) lookups_.emplace_back(createLookup(numberArgument(sizes.Get(i)), mostGuesses));
}

// lookUp(tokens: Int32Array, last, most) -> Int32Array: what may follow the text, whose last token is `last`.
Napi::Value PromptLookup::lookUp(const Napi::CallbackInfo & info) {
    const auto text = tokensArgument(info[0], std::numeric_limits<int32_t>::max());
    const auto last = positionArgument(info[1]);
    const auto most = std::max(positionArgument(info[2]), 0);
    llama_tokens guesses;
    for (const auto & lookup : lookups_) {
        if (most == 0 || !guesses.empty()) break;
        auto & params = common_speculative_get_draft_params(lookup.get(), 0);
        params.drafting = true;
        params.n_max = most;
        params.id_last = last;
        params.prompt = &text;
        params.result = &guesses;
        common_speculative_draft(lookup.get());
    }
    return int32Array(info.Env(), guesses);
}
