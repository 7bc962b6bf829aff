// The addon's classes that only its own functions construct, kept per JavaScript environment.
#pragma once

#include "napi.h"

struct InstanceData {
    Napi::FunctionReference contextClass;
    Napi::FunctionReference preparedSamplerClass;
    Napi::FunctionReference heldFormatClass;
    Napi::FunctionReference embeddingContextClass;
    Napi::FunctionReference draftContextClass;
};
