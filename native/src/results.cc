#include "results.h"

#include <algorithm>

#include "llama-ext.h"

Napi::Value int32Array(Napi::Env env, const std::vector<llama_token> & values) {
    auto array = Napi::Int32Array::New(env, values.size());
    std::copy(values.begin(), values.end(), array.Data());
    return array;
}

Napi::Value memoryReport(Napi::Env env, const llama_context * context) {
    llama_memory_breakdown_data sum;
    for (const auto & [buffer, data] : llama_get_memory_breakdown(context)) {
        sum.model += data.model;
        sum.context += data.context;
        sum.compute += data.compute;
    }
    auto result = Napi::Object::New(env);
    result.Set("modelBytes", static_cast<double>(sum.model));
    result.Set("contextBytes", static_cast<double>(sum.context));
    result.Set("computeBytes", static_cast<double>(sum.compute));
    return result;
}
