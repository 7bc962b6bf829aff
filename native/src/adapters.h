// The LoRA adapters of one model. llama.cpp frees them with the model; nothing here does.
#pragma once

#include <string>
#include <vector>

#include "llama.h"
#include "napi.h"

// Slow. Throws std::runtime_error with llama.cpp's own reason. Not while another thread loads a model or an adapter.
llama_adapter_lora * loadAdapter(llama_model * model, const std::string & path);

// number[], one for each adapter. Throws std::invalid_argument or std::out_of_range.
std::vector<float> parseScales(const Napi::Value & value, size_t adapters);

// Makes a context compute with each adapter at its scale from its next batch on; 0 = without it. As many scales as adapters.
void applyAdapters(llama_context * context, const std::vector<llama_adapter_lora *> & adapters, std::vector<float> scales);
