// An Embedder as JavaScript sees it. One embed() at a time: while it runs another one throws.
#pragma once

#include <memory>

#include "embedder.h"
#include "model.h"
#include "napi.h"

class EmbeddingContext : public Napi::ObjectWrap<EmbeddingContext> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // Only through createEmbeddingContext(), which builds the embedder off the main thread.
    explicit EmbeddingContext(const Napi::CallbackInfo & info);
    ~EmbeddingContext() override;

  private:
    static Napi::Value create(const Napi::CallbackInfo & info);
    static Napi::Value describePooling(const Napi::CallbackInfo & info);
    static Napi::Value tokenizePairs(const Napi::CallbackInfo & info);

    Napi::Value describe(const Napi::CallbackInfo & info);
    Napi::Value embed(const Napi::CallbackInfo & info);
    Napi::Value setAdapters(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    Embedder & embedder();  // throws when disposed
    void shutDown();
    static void atExit(void * context);

    Model * model_;
    Napi::ObjectReference keepAlive_;
    std::shared_ptr<Embedder> embedder_;
    std::shared_ptr<bool> running_ = std::make_shared<bool>(false);  // main thread only
};
