// Arguments from JavaScript, checked. Nothing is converted: that could run JavaScript, which could submit a step or dispose the
// context meanwhile. All throw std::exception.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llama.h"
#include "napi.h"

double numberArgument(const Napi::Value & value);

// -1 or more.
llama_pos positionArgument(const Napi::Value & value);

// An Int32Array of any tokens.
std::vector<llama_token> tokensArgument(const Napi::Value & value);

// Of tokens inside the vocabulary.
std::vector<llama_token> tokensArgument(const Napi::Value & value, int32_t vocabSize);

// A string, or the slices of its UTF-8 as Uint8Arrays in order: of a long text the conversion would hold up the main thread.
std::string textArgument(const Napi::Value & value);
