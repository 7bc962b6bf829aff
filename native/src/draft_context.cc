#include "draft_context.h"

#include <algorithm>
#include <stdexcept>

#include "arguments.h"
#include "instance_data.h"
#include "promise_worker.h"
#include "results.h"
#include "settings.h"

namespace {

// { sequence, keep, read: Int32Array, last, most }
Drafter::Request requestArgument(const Napi::Value & value) {
    if (!value.IsObject()) throw std::invalid_argument("a request is an object");
    const auto object = value.As<Napi::Object>();
    return {
        positionArgument(object.Get("sequence")),
        positionArgument(object.Get("keep")),
        tokensArgument(object.Get("read")),
        positionArgument(object.Get("last")),
        positionArgument(object.Get("most")),
    };
}

// [{ guesses: Int32Array, length }]
Napi::Value toJavaScript(Napi::Env env, const std::vector<Drafter::Draft> & drafts) {
    auto result = Napi::Array::New(env, drafts.size());
    for (uint32_t i = 0; i < drafts.size(); i++) {
        auto draft = Napi::Object::New(env);
        draft.Set("guesses", int32Array(env, drafts[i].guesses));
        draft.Set("length", drafts[i].length);
        result.Set(i, draft);
    }
    return result;
}

}  // namespace

void DraftContext::define(Napi::Env env, Napi::Object exports) {
    env.GetInstanceData<InstanceData>()->draftContextClass = Napi::Persistent(DefineClass(env, "DraftContext", {
        InstanceMethod<&DraftContext::draft>("draft"),
        InstanceMethod<&DraftContext::memory>("memory"),
        InstanceMethod<&DraftContext::dispose>("dispose"),
    }));
    exports.Set("createDraftContext", Napi::Function::New<&DraftContext::create>(env, "createDraftContext"));
}

// createDraftContext(model, options, mostGuesses, leastProbability) -> Promise<DraftContext>; options as for createContext().
Napi::Value DraftContext::create(const Napi::CallbackInfo & info) {
    llama_model * model = Model::from(info[0])->get();
    const auto modelObject = info[0].As<Napi::Object>();
    if (!info[1].IsObject()) throw std::invalid_argument("the second argument is an object");
    const auto mostGuesses = static_cast<int32_t>(std::clamp(numberArgument(info[2]), 1.0, 1024.0));
    const auto leastProbability = static_cast<float>(std::clamp(numberArgument(info[3]), 0.0, 1.0));
    return createOnModel<std::shared_ptr<Drafter>>(
        modelObject, &InstanceData::draftContextClass,
        [model, params = parseContextParams(info[1].As<Napi::Object>()), mostGuesses, leastProbability] {
            return std::make_shared<Drafter>(model, params, mostGuesses, leastProbability);
        });
}

DraftContext::DraftContext(const Napi::CallbackInfo & info) : Napi::ObjectWrap<DraftContext>(info) {
    if (!info[1].IsExternal()) throw std::invalid_argument("use createDraftContext()");
    model_ = Model::from(info[0]);
    keepAlive_ = Napi::Persistent(info[0].As<Napi::Object>());
    drafter_ = std::move(*info[1].As<Napi::External<std::shared_ptr<Drafter>>>().Data());
    // At exit the context must go before node-llama-cpp's own finalizers free the model.
    napi_add_env_cleanup_hook(info.Env(), atExit, this);
}

DraftContext::~DraftContext() { shutDown(); }

Drafter & DraftContext::idle() {
    if (!drafter_) throw std::runtime_error("the context has been disposed");
    if (*running_) throw std::runtime_error("a draft() is running");
    model_->get();
    return *drafter_;
}

// draft(requests) -> Promise<{ guesses: Int32Array, length }[]>: as Drafter::draft().
Napi::Value DraftContext::draft(const Napi::CallbackInfo & info) {
    if (!info[0].IsArray()) throw std::invalid_argument("the requests are an array");
    const auto array = info[0].As<Napi::Array>();
    std::vector<Drafter::Request> requests;
    for (uint32_t i = 0; i < array.Length(); i++) requests.push_back(requestArgument(array.Get(i)));
    idle().expectRequests(requests);  // after the last question to JavaScript, which could dispose this
    return PromiseWorker<std::vector<Drafter::Draft>>::start(
        Value(),
        [made = drafter_, turn = takeTurn(running_), requests = std::move(requests)] { return made->draft(requests); }, toJavaScript);
}

// memory() -> as a Context's.
Napi::Value DraftContext::memory(const Napi::CallbackInfo & info) { return memoryReport(info.Env(), idle().context()); }

void DraftContext::atExit(void * context) { static_cast<DraftContext *>(context)->shutDown(); }

// dispose(): frees the context now. A running draft() is aborted and rejects. Idempotent.
Napi::Value DraftContext::dispose(const Napi::CallbackInfo & info) {
    shutDown();
    return info.Env().Undefined();
}

void DraftContext::shutDown() {
    if (!drafter_) return;
    napi_remove_env_cleanup_hook(Env(), atExit, this);
    drafter_->close();
    drafter_.reset();
}
