#include "arguments.h"

#include <stdexcept>

double numberArgument(const Napi::Value & value) {
    if (!value.IsNumber()) throw std::invalid_argument("an argument is not a number");
    return value.As<Napi::Number>().DoubleValue();
}

llama_pos positionArgument(const Napi::Value & value) {
    const double position = numberArgument(value);
    if (position >= -1 && position <= INT32_MAX) return static_cast<llama_pos>(position);
    throw std::out_of_range("a position is -1 or more");
}

std::vector<llama_token> tokensArgument(const Napi::Value & value) {
    const bool right = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array;
    if (!right) throw std::invalid_argument("tokens are an Int32Array");
    const auto array = value.As<Napi::Int32Array>();
    return { array.Data(), array.Data() + array.ElementLength() };
}

std::vector<llama_token> tokensArgument(const Napi::Value & value, int32_t vocabSize) {
    auto tokens = tokensArgument(value);
    for (const llama_token token : tokens) {
        if (token < 0 || token >= vocabSize) throw std::out_of_range("token outside the vocabulary");
    }
    return tokens;
}

std::string textArgument(const Napi::Value & value) {
    if (value.IsString()) return value.As<Napi::String>();
    if (!value.IsArray()) throw std::invalid_argument("a text is a string, or an array of Uint8Arrays");
    const auto array = value.As<Napi::Array>();
    std::string text;
    for (uint32_t i = 0; i < array.Length(); i++) {
        const Napi::Value slice = array.Get(i);
        const bool right = slice.IsTypedArray() && slice.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
        if (!right) throw std::invalid_argument("a text's slices are Uint8Arrays");
        const auto bytes = slice.As<Napi::Uint8Array>();
        text.append(reinterpret_cast<const char *>(bytes.Data()), bytes.ElementLength());
    }
    return text;
}
