// Guesses how a text goes on from how its last tokens went on before, through llama.cpp's common_speculative_*. Costs no model, pays
// off where answers repeat their prompt (code edits, quotations, extraction).
#pragma once

#include <vector>

#include "napi.h"
#include "speculative.h"

class PromptLookup : public Napi::ObjectWrap<PromptLookup> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // new PromptLookup(repeated: number[], mostGuesses): how many tokens must repeat, tried in this order.
    explicit PromptLookup(const Napi::CallbackInfo & info);

  private:
    Napi::Value lookUp(const Napi::CallbackInfo & info);

    std::vector<common_speculative_ptr> lookups_;
};
