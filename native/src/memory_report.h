// What a context takes, for JavaScript.
#pragma once

#include "llama-ext.h"
#include "llama.h"
#include "napi.h"

// { modelBytes, contextBytes, computeBytes } over all devices.
inline Napi::Value memoryReport(Napi::Env env, const llama_context * context) {
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
