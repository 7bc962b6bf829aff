#include "context.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "instance_data.h"
#include "llama-ext.h"
#include "prepared_sampler.h"
#include "promise_worker.h"
#include "settings.h"

void Context::define(Napi::Env env, Napi::Object exports) {
    env.GetInstanceData<InstanceData>()->contextClass = Napi::Persistent(DefineClass(env, "Context", {
        InstanceMethod<&Context::buffers>("buffers"),
        InstanceMethod<&Context::step>("step"),
        InstanceMethod<&Context::removeTokens>("removeTokens"),
        InstanceMethod<&Context::copySequence>("copySequence"),
        InstanceMethod<&Context::setSampler>("setSampler"),
        InstanceMethod<&Context::clearSampler>("clearSampler"),
        InstanceMethod<&Context::samplingFailure>("samplingFailure"),
        InstanceMethod<&Context::memory>("memory"),
        InstanceMethod<&Context::dispose>("dispose"),
    }));
    exports.Set("createContext", Napi::Function::New<&Context::create>(env, "createContext"));
}

Napi::Value Context::create(const Napi::CallbackInfo & info) {
    llama_model * model = Model::from(info[0])->get();
    const auto modelObject = info[0].As<Napi::Object>();
    using Handle = std::shared_ptr<ContextHandle>;
    auto object = std::make_shared<Napi::ObjectReference>(Napi::Persistent(modelObject));
    return PromiseWorker<Handle>::start(
        modelObject,
        [model, params = parseContextParams(info[1].As<Napi::Object>())] { return std::make_shared<ContextHandle>(model, params); },
        [object](Napi::Env env, Handle & handle) -> Napi::Value {
            auto & contextClass = env.GetInstanceData<InstanceData>()->contextClass;
            return contextClass.New({ object->Value(), Napi::External<Handle>::New(env, &handle) });
        });
}

Context::Context(const Napi::CallbackInfo & info) : Napi::ObjectWrap<Context>(info) {
    if (!info[1].IsExternal()) throw std::invalid_argument("use createContext()");
    keepAlive_ = Napi::Persistent(info[0].As<Napi::Object>());
    model_ = Model::from(info[0]);
    handle_ = std::move(*info[1].As<Napi::External<std::shared_ptr<ContextHandle>>>().Data());

    vocabSize_ = llama_vocab_n_tokens(model_->vocab());
    const size_t size = llama_n_batch(handle_->get());
    const int32_t sequences = llama_n_seq_max(handle_->get());
    batch_ = std::make_shared<BatchBuffers>(size, sequences);
    sequenceCounts_.assign(size, 1);
    step_ = BatchInput(size);
    for (auto & sequence : step_.sequences) sequencePointers_.push_back(&sequence);
    samplers_ = std::make_unique<SequenceSamplers>(sequences, llama_n_threads(handle_->get()), vocabSize_);

    toMain_ = Napi::ThreadSafeFunction::New(info.Env(), Napi::Function::New(info.Env(), [](const Napi::CallbackInfo &) {}),
                                            "llama step", 0, 1);
    toMain_.Unref(info.Env());  // only a running step keeps the process alive
    thread_ = std::thread([this] { runThread(); });
    // At exit the thread must stop and the context go before node-llama-cpp's own finalizers free the model.
    napi_add_env_cleanup_hook(info.Env(), atExit, this);
}

Context::~Context() { shutDown(); }

// buffers(): see shareBuffers().
Napi::Value Context::buffers(const Napi::CallbackInfo & info) { return shareBuffers(info.Env(), batch_); }

llama_context * Context::idle() {
    if (!handle_) throw std::runtime_error("the context has been disposed");
    if (running_) throw std::runtime_error("a step is running");
    model_->get();
    return handle_->get();
}

namespace {

// No conversion: it could run JavaScript, and that could submit a step or dispose the context.
double numberArgument(const Napi::Value & value) {
    if (!value.IsNumber()) throw std::invalid_argument("an argument is not a number");
    return value.As<Napi::Number>().DoubleValue();
}

llama_pos positionArgument(const Napi::Value & value) {
    const double position = numberArgument(value);
    if (position >= -1 && position <= INT32_MAX) return static_cast<llama_pos>(position);
    throw std::out_of_range("a position is -1 or more");
}

}  // namespace

llama_seq_id Context::sequenceArgument(const Napi::Value & value) {
    const double id = numberArgument(value);
    if (!(id >= 0 && id < samplers_->size())) throw std::out_of_range("no such sequence");
    return static_cast<llama_seq_id>(id);
}

// Copies what JavaScript could change meanwhile, and checks what llama_decode takes on trust.
void Context::takeBatch(int32_t count) {
    if (count < 1 || count > static_cast<int32_t>(batch_->tokens.size())) throw std::out_of_range("a step takes 1 to n_batch tokens");
    std::copy_n(batch_->tokens.begin(), count, step_.tokens.begin());
    std::copy_n(batch_->positions.begin(), count, step_.positions.begin());
    std::copy_n(batch_->sequences.begin(), count, step_.sequences.begin());
    std::copy_n(batch_->outputs.begin(), count, step_.outputs.begin());
    const int32_t sequences = samplers_->size();
    std::vector<bool> hasOutput(sequences);
    for (int32_t i = 0; i < count; i++) {
        const llama_seq_id sequence = step_.sequences[i];
        if (step_.tokens[i] < 0 || step_.tokens[i] >= vocabSize_) throw std::out_of_range("token outside the vocabulary");
        if (sequence < 0 || sequence >= sequences) throw std::out_of_range("sequence outside the context");
        if (step_.positions[i] < 0) throw std::out_of_range("negative position");
        if (step_.outputs[i] == 0) continue;
        if (!samplers_->has(sequence)) throw std::logic_error("output without a sampler");
        if (hasOutput[sequence]) throw std::logic_error("more than one output of a sequence");
        hasOutput[sequence] = true;
    }
}

// step(count) -> Promise<number of sampled tokens>. Rejects with an Error whose code is NO_KV_SLOT, ABORTED or STEP_FAILED.
Napi::Value Context::step(const Napi::CallbackInfo & info) {
    idle();
    const double asked = numberArgument(info[0]);
    const int32_t count = asked >= 1 && asked <= batch_->tokens.size() ? static_cast<int32_t>(asked) : 0;
    takeBatch(count);
    running_ = Napi::Promise::Deferred::New(info.Env());
    toMain_.Ref(info.Env());
    Ref();  // until the step has settled, whoever else lets go
    {
        const std::lock_guard lock(mutex_);
        submitted_ = count;
    }
    wake_.notify_one();
    return running_->Promise();
}

void Context::runThread() {
    for (;;) {
        int32_t count = 0;
        bool stopping = false;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return submitted_ > 0 || stopping_; });
            count = std::exchange(submitted_, 0);
            stopping = stopping_;
        }
        if (count > 0) {
            const StepResult aborted{ 0, "the context was disposed", "ABORTED" };
            auto * result = new StepResult(stopping ? aborted : runStep(count));
            const auto status = toMain_.NonBlockingCall(result, [this](Napi::Env env, Napi::Function, StepResult * done) {
                const std::unique_ptr<StepResult> owned(done);
                settle(env, *owned);
            });
            if (status != napi_ok) delete result;  // the environment is going down; nobody waits any more
        }
        if (stopping) return;
    }
}

Context::StepResult Context::runStep(int32_t count) {
    try {
        llama_batch batch{ count, step_.tokens.data(), nullptr, step_.positions.data(), sequenceCounts_.data(),
                           sequencePointers_.data(), step_.outputs.data() };
        switch (const int32_t status = llama_decode(handle_->get(), batch)) {
            case 0: return sampleOutputs(count);
            case 1: return { 0, "no room in the KV cache for this step", "NO_KV_SLOT" };
            case 2: return { 0, "the step was aborted", "ABORTED" };
            default: return { 0, "llama_decode failed with status " + std::to_string(status), "STEP_FAILED" };
        }
    } catch (const std::exception & error) {
        return { 0, error.what(), "STEP_FAILED" };
    } catch (...) {
        return { 0, "a native exception of unknown type", "STEP_FAILED" };
    }
}

// The logits' places are asked for here: llama.cpp may sort its outputs on the first question.
Context::StepResult Context::sampleOutputs(int32_t count) {
    std::vector<SequenceSamplers::Output> outputs;
    for (int32_t i = 0; i < count; i++) {
        if (step_.outputs[i] == 0) continue;
        float * logits = llama_get_logits_ith(handle_->get(), i);
        if (logits == nullptr) throw std::runtime_error("the step has no logits at a position");
        outputs.push_back({ step_.sequences[i], logits });
    }
    samplers_->sample(outputs, *batch_);
    return { static_cast<int32_t>(outputs.size()), "", nullptr };
}

void Context::settle(Napi::Env env, const StepResult & result) {
    const auto deferred = *std::exchange(running_, std::nullopt);
    toMain_.Unref(env);
    if (result.code == nullptr) {
        deferred.Resolve(Napi::Number::New(env, result.outputs));
    } else {
        auto error = Napi::Error::New(env, result.error);
        error.Set("code", result.code);
        deferred.Reject(error.Value());
    }
    Unref();
}

// removeTokens(sequence, from, to) -> boolean: false when this kind of memory cannot drop that part. to < 0: to the end.
Napi::Value Context::removeTokens(const Napi::CallbackInfo & info) {
    llama_memory_t memory = llama_get_memory(idle());
    const llama_seq_id sequence = sequenceArgument(info[0]);
    return Napi::Boolean::New(info.Env(), llama_memory_seq_rm(memory, sequence, positionArgument(info[1]), positionArgument(info[2])));
}

// copySequence(from, to): the whole of `from`; whatever `to` held is gone.
Napi::Value Context::copySequence(const Napi::CallbackInfo & info) {
    llama_memory_t memory = llama_get_memory(idle());
    const llama_seq_id from = sequenceArgument(info[0]);
    const llama_seq_id to = sequenceArgument(info[1]);
    if (from == to) return info.Env().Undefined();
    llama_memory_seq_rm(memory, to, -1, -1);
    llama_memory_seq_cp(memory, from, to, -1, -1);
    return info.Env().Undefined();
}

std::vector<llama_token> Context::promptArgument(const Napi::Value & value) {
    const bool right = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array;
    if (!right) throw std::invalid_argument("a prompt is an Int32Array");
    const auto array = value.As<Napi::Int32Array>();
    std::vector<llama_token> prompt(array.Data(), array.Data() + array.ElementLength());
    for (const llama_token token : prompt) {
        if (token < 0 || token >= vocabSize_) throw std::out_of_range("token outside the vocabulary");
    }
    return prompt;
}

// setSampler(sequence, settings or PreparedSampler, prompt: Int32Array, logprobs): logprobs < 0 = none, else how many per token.
Napi::Value Context::setSampler(const Napi::CallbackInfo & info) {
    idle();
    const llama_seq_id sequence = sequenceArgument(info[0]);
    if (!info[1].IsObject()) throw std::invalid_argument("a sampler is settings or a prepared one");
    const auto object = info[1].As<Napi::Object>();
    const auto prompt = promptArgument(info[2]);
    const bool prepared = object.InstanceOf(info.Env().GetInstanceData<InstanceData>()->preparedSamplerClass.Value());
    auto sampler = prepared ? PreparedSampler::Unwrap(object)->take()
                            : std::make_unique<Sampler>(model_->get(), parseSampling(object, vocabSize_));
    sampler->acceptPrompt(prompt);
    idle();  // reading the settings may have run JavaScript
    samplers_->set(sequence, std::move(sampler), info[3].IsNumber() ? info[3].ToNumber().Int32Value() : -1);
    return info.Env().Undefined();
}

// samplingFailure(sequence) -> { code, message } of the output that got -1 instead of a token, or null.
Napi::Value Context::samplingFailure(const Napi::CallbackInfo & info) {
    idle();
    const auto & failure = samplers_->failure(sequenceArgument(info[0]));
    if (failure.code == nullptr) return info.Env().Null();
    auto result = Napi::Object::New(info.Env());
    result.Set("code", failure.code);
    result.Set("message", failure.message);
    return result;
}

Napi::Value Context::clearSampler(const Napi::CallbackInfo & info) {
    idle();
    samplers_->clear(sequenceArgument(info[0]));
    return info.Env().Undefined();
}

// memory() -> { modelBytes, contextBytes, computeBytes } over all devices.
Napi::Value Context::memory(const Napi::CallbackInfo & info) {
    llama_memory_breakdown_data sum;
    for (const auto & [buffer, data] : llama_get_memory_breakdown(idle())) {
        sum.model += data.model;
        sum.context += data.context;
        sum.compute += data.compute;
    }
    auto result = Napi::Object::New(info.Env());
    result.Set("modelBytes", static_cast<double>(sum.model));
    result.Set("contextBytes", static_cast<double>(sum.context));
    result.Set("computeBytes", static_cast<double>(sum.compute));
    return result;
}

// dispose(): frees the context now. A running step is aborted and its promise rejected. Idempotent.
Napi::Value Context::dispose(const Napi::CallbackInfo & info) {
    shutDown();
    return info.Env().Undefined();
}

void Context::atExit(void * context) { static_cast<Context *>(context)->shutDown(); }

void Context::shutDown() {
    if (!handle_) return;
    handle_->abort = true;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
    toMain_.Release();  // delivers what is queued first
    napi_remove_env_cleanup_hook(Env(), atExit, this);
    samplers_->clearAll();
    handle_.reset();
}
