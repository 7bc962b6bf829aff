// What a model file says about its vectors: how they are pooled over the tokens, and how a query and a document become one input.
#pragma once

#include <string>
#include <vector>

#include "llama.h"
#include "tokenizer.h"

struct Pooling {
    // LLAMA_POOLING_TYPE_NONE: the model makes no vectors of texts.
    enum llama_pooling_type type = LLAMA_POOLING_TYPE_NONE;
    // No token sees later ones. Otherwise the model reads a text in one pass, and cannot write one.
    bool causal = true;
    // Causal, and only the last token's vector counts: an input can be decoded piece by piece.
    bool splits = false;
    // The model's scores are probabilities already (llama.cpp adds a softmax for this architecture).
    bool probabilities = false;
};

Pooling readPooling(const llama_model * model);

// The tokens of a query with each document, as llama-server's format_prompt_rerank() makes them: by the model's rerank template, else
// [BOS] query [EOS] [SEP] document [EOS], each mark only if the model wants it.
// The last one is the first that has more than maxTokens: whoever asks for pairs that long gets none of them computed.
std::vector<std::vector<llama_token>> pairTokens(const llama_model * model, const Tokenizer & tokenizer, const std::string & query,
                                                 const std::vector<std::string> & documents, size_t maxTokens);
