// The addon's classes that only its own functions construct, kept per JavaScript environment.
#pragma once

#include <functional>
#include <memory>

#include "napi.h"
#include "promise_worker.h"

struct InstanceData {
    Napi::FunctionReference contextClass;
    Napi::FunctionReference preparedSamplerClass;
    Napi::FunctionReference heldFormatClass;
    Napi::FunctionReference embeddingContextClass;
    Napi::FunctionReference draftContextClass;
};

// A promise of an object of that class, constructed with the model's object and what `make` has made of it on a pool thread: its
// constructor takes that over.
template <typename Made>
Napi::Promise createOnModel(Napi::Object model, Napi::FunctionReference InstanceData::*objectClass, std::function<Made()> make) {
    auto kept = std::make_shared<Napi::ObjectReference>(Napi::Persistent(model));
    return PromiseWorker<Made>::start(model, std::move(make), [kept, objectClass](Napi::Env env, Made & made) -> Napi::Value {
        return (env.GetInstanceData<InstanceData>()->*objectClass).New({ kept->Value(), Napi::External<Made>::New(env, &made) });
    });
}
