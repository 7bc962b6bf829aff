#include "settings.h"

#include <cmath>
#include <map>
#include <stdexcept>
#include <string>

namespace {

double number(const Napi::Object & object, const char * name, double min, double max) {
    const Napi::Value value = object.Get(name);
    const double result = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
    if (!(result >= min && result <= max)) throw std::out_of_range(std::string(name) + " is not a number in its range");
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
    // One output a sequence and step: the logits buffer need not hold a row for every prompt token.
    params.n_outputs_max = params.n_seq_max;
    params.n_threads = number(options, "threads", 1, 1024);
    params.n_threads_batch = params.n_threads;
    params.flash_attn_type = choice(options, "flashAttention", flashAttentionTypes);
    params.type_k = choice(options, "keyType", kvTypes);
    params.type_v = choice(options, "valueType", kvTypes);
    params.kv_unified = options.Get("unified").ToBoolean();
    params.no_perf = true;
    return params;
}

common_params_sampling parseSampling(Napi::Object settings, int32_t vocabSize) {
    common_params_sampling params;
    params.seed = number(settings, "seed", 0, 4294967295.0);
    params.temp = number(settings, "temperature", 0, 2);
    params.top_k = number(settings, "topK", -1, 1e6);
    params.top_p = number(settings, "topP", 0, 1);
    params.min_p = number(settings, "minP", 0, 1);
    params.penalty_repeat = number(settings, "repeatPenalty", 0.01, 10);
    params.penalty_last_n = number(settings, "repeatLastN", 0, 1e6);
    params.penalty_freq = number(settings, "frequencyPenalty", -2, 2);
    params.penalty_present = number(settings, "presencePenalty", -2, 2);
    const auto bias = settings.Get("logitBias").As<Napi::Array>();
    for (uint32_t i = 0; i < bias.Length(); i++) {
        const auto pair = Napi::Value(bias.Get(i)).As<Napi::Array>();
        const double token = Napi::Value(pair.Get(0u)).ToNumber();
        if (!(token >= 0 && token < vocabSize)) throw std::out_of_range("logitBias names a token outside the vocabulary");
        params.logit_bias.push_back({ static_cast<llama_token>(token), Napi::Value(pair.Get(1u)).ToNumber().FloatValue() });
    }
    return params;
}
