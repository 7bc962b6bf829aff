#include "settings.h"

#include "batch_buffers.h"
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

double number(const Napi::Object & object, const char * name, double min, double max) {
    const Napi::Value value = object.Get(name);
    const double result = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
    if (!(result >= min && result <= max)) throw std::out_of_range(std::string(name) + " is not a number in its range");
    return result;
}

// A setting that may be left out.
double number(const Napi::Object & object, const char * name, double min, double max, double fallback) {
    return object.Get(name).IsUndefined() ? fallback : number(object, name, min, max);
}

std::vector<std::string> texts(const Napi::Value & value) {
    std::vector<std::string> result;
    const auto array = value.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); i++) result.push_back(Napi::Value(array.Get(i)).ToString());
    return result;
}

template <typename T>
T choice(const Napi::Object & object, const char * name, const std::map<std::string, T> & choices) {
    const auto found = choices.find(object.Get(name).ToString().Utf8Value());
    if (found == choices.end()) throw std::out_of_range(std::string(name) + " is not one of its values");
    return found->second;
}

const std::map<std::string, ggml_type> kvTypes = { { "f16", GGML_TYPE_F16 }, { "q8_0", GGML_TYPE_Q8_0 }, { "q4_0", GGML_TYPE_Q4_0 } };
const std::map<std::string, llama_flash_attn_type> flashAttentionTypes = {
    { "auto", LLAMA_FLASH_ATTN_TYPE_AUTO }, { "on", LLAMA_FLASH_ATTN_TYPE_ENABLED }, { "off", LLAMA_FLASH_ATTN_TYPE_DISABLED }
};

}  // namespace

llama_context_params parseContextParams(Napi::Object options) {
    auto params = llama_context_default_params();
    params.n_ctx = number(options, "contextTokens", 1, 4294967295.0);
    params.n_batch = number(options, "batchTokens", 1, 1 << 20);
    params.n_ubatch = number(options, "microBatchTokens", 1, 1 << 20);
    params.n_seq_max = number(options, "sequences", 1, llama_max_parallel_sequences());
    // One output a sequence and step, and a few scored prompt tokens: logits need not have a row for every prompt token.
    params.n_outputs_max = params.n_seq_max + maxScored;
    params.n_threads = number(options, "threads", 1, 1024);
    params.n_threads_batch = params.n_threads;
    params.flash_attn_type = choice(options, "flashAttention", flashAttentionTypes);
    params.type_k = choice(options, "keyType", kvTypes);
    params.type_v = choice(options, "valueType", kvTypes);
    params.kv_unified = options.Get("unified").ToBoolean();
    // Layers with a sliding window keep no more than the window; prefix-cache.ts knows what that means for a shared beginning.
    params.swa_full = false;
    params.no_perf = true;
    return params;
}

namespace {

void parseLogitBias(const Napi::Array & bias, int32_t vocabSize, common_params_sampling & params) {
    for (uint32_t i = 0; i < bias.Length(); i++) {
        const auto pair = Napi::Value(bias.Get(i)).As<Napi::Array>();
        const double token = Napi::Value(pair.Get(0u)).ToNumber();
        if (!(token >= 0 && token < vocabSize)) throw std::out_of_range("logitBias names a token outside the vocabulary");
        params.logit_bias.push_back({ static_cast<llama_token>(token), Napi::Value(pair.Get(1u)).ToNumber().FloatValue() });
    }
}

// Settings that most requests leave alone.
void parseRareSampling(const Napi::Object & settings, common_params_sampling & params) {
    params.typ_p = number(settings, "typicalP", 0, 1, 1);
    params.top_n_sigma = number(settings, "topNSigma", -1, 100, -1);
    params.dynatemp_range = number(settings, "dynatempRange", 0, 2, 0);
    params.dynatemp_exponent = number(settings, "dynatempExponent", 0, 10, 1);
    params.xtc_probability = number(settings, "xtcProbability", 0, 1, 0);
    params.xtc_threshold = number(settings, "xtcThreshold", 0, 1, 0.1);
    params.dry_multiplier = number(settings, "dryMultiplier", 0, 10, 0);
    params.dry_base = number(settings, "dryBase", 1, 10, 1.75);
    params.dry_allowed_length = number(settings, "dryAllowedLength", 0, 1000, 2);
    params.dry_penalty_last_n = number(settings, "dryPenaltyLastN", 0, 1e6, 64);
    params.mirostat = number(settings, "mirostat", 0, 2, 0);
    params.mirostat_tau = number(settings, "mirostatTau", 0, 100, 5);
    params.mirostat_eta = number(settings, "mirostatEta", 0, 1, 0.1);
    if (settings.Has("drySequenceBreakers")) params.dry_sequence_breakers = texts(settings.Get("drySequenceBreakers"));
    if (!settings.Has("samplers")) return;
    const auto names = texts(settings.Get("samplers"));
    params.samplers = common_sampler_types_from_names(names);
    const auto unsupported = std::find(params.samplers.begin(), params.samplers.end(), COMMON_SAMPLER_TYPE_ADAPTIVE_P);
    if (params.samplers.size() != names.size() || unsupported != params.samplers.end()) {
        throw std::out_of_range("samplers names one that is not known");
    }
}

}  // namespace

common_params_sampling parseSampling(Napi::Object settings, int32_t vocabSize) {
    common_params_sampling params;
    params.seed = number(settings, "seed", 0, 4294967295.0);
    // llama.cpp takes this one value as "a random seed"; here every seed repeats.
    if (params.seed == LLAMA_DEFAULT_SEED) params.seed = 0;
    params.temp = number(settings, "temperature", 0, 2);
    params.top_k = number(settings, "topK", -1, 1e6);
    params.top_p = number(settings, "topP", 0, 1);
    params.min_p = number(settings, "minP", 0, 1);
    params.penalty_repeat = number(settings, "repeatPenalty", 0.01, 10);
    params.penalty_last_n = number(settings, "repeatLastN", 0, 1e6);
    params.penalty_freq = number(settings, "frequencyPenalty", -2, 2);
    params.penalty_present = number(settings, "presencePenalty", -2, 2);
    parseLogitBias(settings.Get("logitBias").As<Napi::Array>(), vocabSize, params);
    parseRareSampling(settings, params);
    return params;
}

void parseConstraint(Napi::Object constraint, const llama_vocab * vocab, common_params_sampling & params) {
    const auto kind = choice<common_grammar_type>(constraint, "kind", {
        { "none", COMMON_GRAMMAR_TYPE_NONE },
        { "user", COMMON_GRAMMAR_TYPE_USER },
        { "template", COMMON_GRAMMAR_TYPE_TOOL_CALLS },
    });
    const std::string source = constraint.Get("grammar").ToString();
    if (kind != COMMON_GRAMMAR_TYPE_NONE && !source.empty()) params.grammar = { kind, source };
    params.grammar_lazy = constraint.Get("lazy").ToBoolean();
    params.generation_prompt = constraint.Get("generationPrompt").ToString().Utf8Value();
    const auto triggers = constraint.Get("triggers").As<Napi::Array>();
    for (uint32_t i = 0; i < triggers.Length(); i++) {
        const auto trigger = Napi::Value(triggers.Get(i)).As<Napi::Object>();
        const int type = number(trigger, "type", 0, COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL);
        params.grammar_triggers.push_back({ static_cast<common_grammar_trigger_type>(type), trigger.Get("value").ToString(),
                                            trigger.Get("token").ToNumber() });
    }
    const auto endTags = texts(constraint.Get("thinkingEndTags"));
    if (endTags.empty()) return;
    const std::string startTag = constraint.Get("thinkingStartTag").ToString();
    const std::string message = constraint.Get("budgetMessage").ToString();
    params.reasoning_budget_tokens = number(constraint, "budgetTokens", -1, 1e6);
    params.reasoning_budget_start = common_tokenize(vocab, startTag, false, true);
    for (const auto & tag : endTags) params.reasoning_budget_end.push_back(common_tokenize(vocab, tag, false, true));
    params.reasoning_budget_forced = common_tokenize(vocab, message + endTags.front(), false, true);
}
