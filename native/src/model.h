// The model that node-llama-cpp loaded, as seen from here: tokens, pieces, figures and chat templates. Owns none of it but the
// templates; node-llama-cpp frees the weights, after every Context on them is gone (engine/llama-engine.ts keeps that order).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "chat_templates.h"
#include "llama.h"
#include "napi.h"
#include "token_texts.h"
#include "tokenizer.h"

class AddonModel;  // node-llama-cpp's

class Model : public Napi::ObjectWrap<Model> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // new Model(model._model)
    explicit Model(const Napi::CallbackInfo & info);

    // The Model that a JavaScript value is; throws std::invalid_argument when it is none.
    static Model * from(const Napi::Value & value);

    // Throws when node-llama-cpp has disposed the model.
    llama_model * get() const;
    const llama_vocab * vocab() const { return llama_model_get_vocab(get()); }
    // For grammars; made by the first call, which takes a while. From any thread.
    std::shared_ptr<const TokenTexts> tokenTexts();

    // Lives as long as this.
    const Tokenizer & tokenizer() const { return *tokenizer_; }

    // In the order they were loaded in. They live as long as the weights.
    const std::vector<llama_adapter_lora *> & adapters() const { return adapters_; }

  private:
    Napi::Value describe(const Napi::CallbackInfo & info);
    Napi::Value pieces(const Napi::CallbackInfo & info);
    Napi::Value endOfGenerationTokens(const Napi::CallbackInfo & info);
    Napi::Value tokenize(const Napi::CallbackInfo & info);
    Napi::Value loadChatTemplates(const Napi::CallbackInfo & info);
    Napi::Value renderChat(const Napi::CallbackInfo & info);
    Napi::Value schemaGrammar(const Napi::CallbackInfo & info);
    Napi::Value loadAdapter(const Napi::CallbackInfo & info);

    AddonModel * wrapped_;
    Napi::ObjectReference keepAlive_;
    std::shared_ptr<ChatTemplates> templates_;
    std::mutex tokenTextsMutex_;
    std::shared_ptr<const TokenTexts> tokenTexts_;
    std::unique_ptr<const Tokenizer> tokenizer_;
    std::vector<llama_adapter_lora *> adapters_;
};
