// What goes back to JavaScript from more than one place.
#pragma once

#include <vector>

#include "llama.h"
#include "napi.h"

// An Int32Array of its own.
Napi::Value int32Array(Napi::Env env, const std::vector<llama_token> & values);

// What a context takes: { modelBytes, contextBytes, computeBytes } over all devices.
Napi::Value memoryReport(Napi::Env env, const llama_context * context);
