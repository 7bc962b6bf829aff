// Numbers from JavaScript, without conversions: those could run JavaScript, and that could submit a step or dispose the context.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "llama.h"
#include "napi.h"

inline double numberArgument(const Napi::Value & value) {
    if (!value.IsNumber()) throw std::invalid_argument("an argument is not a number");
    return value.As<Napi::Number>().DoubleValue();
}

// -1 = from the beginning, or to the end.
inline llama_pos positionArgument(const Napi::Value & value) {
    const double position = numberArgument(value);
    if (!(position >= -1 && position <= INT32_MAX)) throw std::out_of_range("a position is -1 or more");
    return static_cast<llama_pos>(position);
}
