#include "embedding_context.h"

#include <algorithm>
#include <stdexcept>

#include "adapters.h"
#include "arguments.h"
#include "instance_data.h"
#include "pooling.h"
#include "promise_worker.h"
#include "results.h"
#include "settings.h"

namespace {

const char * nameOf(enum llama_pooling_type type) {
    switch (type) {
        case LLAMA_POOLING_TYPE_MEAN: return "mean";
        case LLAMA_POOLING_TYPE_CLS: return "cls";
        case LLAMA_POOLING_TYPE_LAST: return "last";
        case LLAMA_POOLING_TYPE_RANK: return "rank";
        default: return "none";
    }
}

TokenSequence tokenSequence(const Napi::Value & value) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
        throw std::invalid_argument("an input is an Int32Array");
    }
    const auto array = value.As<Napi::Int32Array>();
    return { array.Data(), array.Data() + array.ElementLength() };
}

std::vector<TokenSequence> tokenSequences(const Napi::Value & value) {
    if (!value.IsArray()) throw std::invalid_argument("the inputs are an array");
    const auto array = value.As<Napi::Array>();
    std::vector<TokenSequence> inputs;
    for (uint32_t i = 0; i < array.Length(); i++) inputs.push_back(tokenSequence(array.Get(i)));
    return inputs;
}

Model * modelArgument(const Napi::CallbackInfo & info) {
    if (!info[0].IsObject()) throw std::invalid_argument("the first argument is a Model");
    return Model::from(info[0]);
}

}  // namespace

void EmbeddingContext::define(Napi::Env env, Napi::Object exports) {
    env.GetInstanceData<InstanceData>()->embeddingContextClass = Napi::Persistent(DefineClass(env, "EmbeddingContext", {
        InstanceMethod<&EmbeddingContext::describe>("describe"),
        InstanceMethod<&EmbeddingContext::embed>("embed"),
        InstanceMethod<&EmbeddingContext::setAdapters>("setAdapters"),
        InstanceMethod<&EmbeddingContext::dispose>("dispose"),
    }));
    exports.Set("createEmbeddingContext", Napi::Function::New<&EmbeddingContext::create>(env, "createEmbeddingContext"));
    exports.Set("describePooling", Napi::Function::New<&EmbeddingContext::describePooling>(env, "describePooling"));
    exports.Set("tokenizePairs", Napi::Function::New<&EmbeddingContext::tokenizePairs>(env, "tokenizePairs"));
}

// createEmbeddingContext(model, options) -> Promise<EmbeddingContext>; options as for createContext(), of which microBatchTokens
// and unified do not count.
Napi::Value EmbeddingContext::create(const Napi::CallbackInfo & info) {
    llama_model * model = modelArgument(info)->get();
    const auto modelObject = info[0].As<Napi::Object>();
    return createOnModel<std::shared_ptr<Embedder>>(
        modelObject, &InstanceData::embeddingContextClass, [model, params = parseContextParams(info[1].As<Napi::Object>())] {
            return std::make_shared<Embedder>(model, params, readPooling(model).splits);
        });
}

EmbeddingContext::EmbeddingContext(const Napi::CallbackInfo & info) : Napi::ObjectWrap<EmbeddingContext>(info) {
    if (!info[1].IsExternal()) throw std::invalid_argument("use createEmbeddingContext()");
    model_ = modelArgument(info);
    keepAlive_ = Napi::Persistent(info[0].As<Napi::Object>());
    embedder_ = std::move(*info[1].As<Napi::External<std::shared_ptr<Embedder>>>().Data());
    // At exit the context must go before node-llama-cpp's own finalizers free the model.
    napi_add_env_cleanup_hook(info.Env(), atExit, this);
}

EmbeddingContext::~EmbeddingContext() { shutDown(); }

// describePooling(model) -> { type: "none"|"mean"|"cls"|"last"|"rank", causal, splits, probabilities }
Napi::Value EmbeddingContext::describePooling(const Napi::CallbackInfo & info) {
    const Pooling pooling = readPooling(modelArgument(info)->get());
    auto result = Napi::Object::New(info.Env());
    result.Set("type", nameOf(pooling.type));
    result.Set("causal", pooling.causal);
    result.Set("splits", pooling.splits);
    result.Set("probabilities", pooling.probabilities);
    return result;
}

// tokenizePairs(model, query, documents: string[], maxTokens) -> Promise<Int32Array[]>: up to and with the first pair of more tokens.
// Texts may come as slices.
Napi::Value EmbeddingContext::tokenizePairs(const Napi::CallbackInfo & info) {
    const Model * asked = modelArgument(info);
    const llama_model * model = asked->get();
    if (!info[2].IsArray()) throw std::invalid_argument("the documents are an array");
    std::vector<std::string> documents;
    const auto array = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); i++) documents.push_back(textArgument(array.Get(i)));
    const auto maxTokens = static_cast<size_t>(std::clamp(numberArgument(info[3]), 0.0, 1e9));
    return PromiseWorker<std::vector<TokenSequence>>::start(
        info[0].As<Napi::Object>(),
        [model, words = &asked->tokenizer(), query = textArgument(info[1]), documents = std::move(documents), maxTokens] {
            return pairTokens(model, *words, query, documents, maxTokens);
        },
        [](Napi::Env env, std::vector<TokenSequence> & pairs) -> Napi::Value {
            auto result = Napi::Array::New(env, pairs.size());
            for (uint32_t i = 0; i < pairs.size(); i++) result.Set(i, int32Array(env, pairs[i]));
            return result;
        });
}

Embedder & EmbeddingContext::embedder() {
    if (!embedder_) throw std::runtime_error("the context has been disposed");
    model_->get();
    return *embedder_;
}

// describe() -> { width, batchTokens, inputTokens }: numbers in a vector, tokens of a batch, tokens of the longest input.
Napi::Value EmbeddingContext::describe(const Napi::CallbackInfo & info) {
    const Embedder & made = embedder();
    auto result = Napi::Object::New(info.Env());
    result.Set("width", made.width());
    result.Set("batchTokens", made.batchTokens());
    result.Set("inputTokens", made.inputTokens());
    return result;
}

// embed(inputs: Int32Array[]) -> Promise<Float32Array>: one row of width per input, scores for a model that ranks.
Napi::Value EmbeddingContext::embed(const Napi::CallbackInfo & info) {
    auto inputs = tokenSequences(info[0]);
    embedder().expectBatch(inputs);
    if (*running_) throw std::runtime_error("an embed() is running");
    return PromiseWorker<std::vector<float>>::start(
        Value(),
        [made = embedder_, turn = takeTurn(running_), inputs = std::move(inputs)] { return made->embed(inputs); },
        [](Napi::Env env, std::vector<float> & rows) -> Napi::Value {
            auto array = Napi::Float32Array::New(env, rows.size());
            std::copy(rows.begin(), rows.end(), array.Data());
            return array;
        });
}

// setAdapters(scales: number[]): as a Context's.
Napi::Value EmbeddingContext::setAdapters(const Napi::CallbackInfo & info) {
    Embedder & made = embedder();
    if (*running_) throw std::runtime_error("an embed() is running");
    made.useAdapters(model_->adapters(), parseScales(info[0], model_->adapters().size()));
    return info.Env().Undefined();
}

void EmbeddingContext::atExit(void * context) { static_cast<EmbeddingContext *>(context)->shutDown(); }

// dispose(): frees the context, after a running embed(), which is aborted and rejects. Idempotent. The model must outlive that.
Napi::Value EmbeddingContext::dispose(const Napi::CallbackInfo & info) {
    shutDown();
    return info.Env().Undefined();
}

void EmbeddingContext::shutDown() {
    if (!embedder_) return;
    napi_remove_env_cleanup_hook(Env(), atExit, this);
    embedder_->abort();
    embedder_.reset();
}
