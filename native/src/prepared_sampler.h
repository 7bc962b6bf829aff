// A sampler made off the main thread, because its grammar may take long to compile, waiting to be given to a sequence.
#pragma once

#include <memory>

#include "napi.h"
#include "sampler.h"

class PreparedSampler : public Napi::ObjectWrap<PreparedSampler> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // Only prepareSampler() makes them.
    explicit PreparedSampler(const Napi::CallbackInfo & info);

    // Hands it out, once; throws after that.
    std::unique_ptr<Sampler> take();

  private:
    // prepareSampler(model, settings, constraint) -> Promise<PreparedSampler>; rejects with the grammar's own error.
    static Napi::Value prepare(const Napi::CallbackInfo & info);

    std::unique_ptr<Sampler> sampler_;
};
