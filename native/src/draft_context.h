// A Drafter as JavaScript sees it. One draft() at a time: while it runs another one throws.
#pragma once

#include <memory>

#include "drafter.h"
#include "model.h"
#include "napi.h"

class DraftContext : public Napi::ObjectWrap<DraftContext> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // Only through createDraftContext(), which builds the drafter off the main thread.
    explicit DraftContext(const Napi::CallbackInfo & info);
    ~DraftContext() override;

  private:
    static Napi::Value create(const Napi::CallbackInfo & info);

    Napi::Value draft(const Napi::CallbackInfo & info);
    Napi::Value memory(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    Drafter & idle();  // throws when disposed or while a draft() runs
    void shutDown();
    static void atExit(void * context);

    Model * model_;
    Napi::ObjectReference keepAlive_;
    std::shared_ptr<Drafter> drafter_;
    std::shared_ptr<bool> running_ = std::make_shared<bool>(false);  // main thread only
};
