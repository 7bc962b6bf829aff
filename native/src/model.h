// The model that node-llama-cpp loaded, as seen from here: tokens, pieces, figures and chat templates. Owns none of it but the
// templates; node-llama-cpp frees the weights, after every Context on them is gone (engine/llama-engine.ts keeps that order).
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "chat.h"
#include "llama.h"
#include "napi.h"
#include "token_texts.h"

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

  private:
    Napi::Value describe(const Napi::CallbackInfo & info);
    Napi::Value pieces(const Napi::CallbackInfo & info);
    Napi::Value endOfGenerationTokens(const Napi::CallbackInfo & info);
    Napi::Value tokenize(const Napi::CallbackInfo & info);
    Napi::Value loadChatTemplates(const Napi::CallbackInfo & info);
    Napi::Value renderChat(const Napi::CallbackInfo & info);
    Napi::Value schemaGrammar(const Napi::CallbackInfo & info);

    AddonModel * wrapped_;
    Napi::ObjectReference keepAlive_;
    common_chat_templates_ptr templates_;
    bool supportsThinking_ = false;
    std::mutex tokenTextsMutex_;
    std::shared_ptr<const TokenTexts> tokenTexts_;
};
