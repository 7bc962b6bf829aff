#include "context.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "arguments.h"
#include "instance_data.h"
#include "llama-ext.h"
#include "promise_worker.h"
#include "settings.h"

void Context::define(Napi::Env env, Napi::Object exports) {
    env.GetInstanceData<InstanceData>()->contextClass = Napi::Persistent(DefineClass(env, "Context", {
        InstanceMethod<&Context::buffers>("buffers"),
        InstanceMethod<&Context::step>("step"),
        InstanceMethod<&Context::removeTokens>("removeTokens"),
        InstanceMethod<&Context::copySequence>("copySequence"),
        InstanceMethod<&Context::firstPosition>("firstPosition"),
        InstanceMethod<&Context::saveState>("saveState"),
        InstanceMethod<&Context::loadState>("loadState"),
        InstanceMethod<&Context::setSampler>("setSampler"),
        InstanceMethod<&Context::clearSampler>("clearSampler"),
        InstanceMethod<&Context::moveSampler>("moveSampler"),
        InstanceMethod<&Context::samplingFailure>("samplingFailure"),
        InstanceMethod<&Context::setAdapters>("setAdapters"),
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
    batch_ = std::make_shared<BatchBuffers>(size, handle_->outputsMax());
    sequenceCounts_.assign(size, 1);
    step_ = BatchInput(size);
    for (auto & sequence : step_.sequences) sequencePointers_.push_back(&sequence);
    const int32_t threads = llama_n_threads(handle_->get());
    samplers_ = std::make_unique<SequenceSamplers>(llama_n_seq_max(handle_->get()), threads, vocabSize_);

    toMain_ = Napi::ThreadSafeFunction::New(info.Env(), Napi::Function::New(info.Env(), [](const Napi::CallbackInfo &) {}),
                                            "llama step", 0, 1);
    toMain_.Unref(info.Env());  // only a running step keeps the process alive
    thread_ = std::thread([this] { runThread(); });
    // At exit the thread must stop and the context go before node-llama-cpp's own finalizers free the model.
    napi_add_env_cleanup_hook(info.Env(), atExit, this);
}

Context::~Context() { shutDown(); }

// buffers() -> the batch's arrays (batch_buffers.h)
Napi::Value Context::buffers(const Napi::CallbackInfo & info) { return shareBuffers(info.Env(), batch_); }

llama_context * Context::idle() {
    if (!handle_) throw std::runtime_error("the context has been disposed");
    if (running_) throw std::runtime_error("a step is running");
    model_->get();
    return handle_->get();
}

llama_seq_id Context::sequenceArgument(const Napi::Value & value) {
    const double id = numberArgument(value);
    if (!(id >= 0 && id < samplers_->size())) throw std::out_of_range("no such sequence");
    return static_cast<llama_seq_id>(id);
}

// Copies what JavaScript has written, and could change meanwhile, and checks it. llama_decode itself checks that positions continue
// each sequence; what it takes on trust is checked here.
void Context::takeBatch(int32_t count) {
    if (count < 1 || count > static_cast<int32_t>(batch_->tokens.size())) throw std::out_of_range("a step takes 1 to n_batch tokens");
    step_.copyFrom(*batch_, count);
    std::vector<bool> hasOutput(samplers_->size());
    size_t outputs = 0;
    for (int32_t i = 0; i < count; i++) {
        const llama_seq_id sequence = step_.sequences[i];
        if (step_.tokens[i] < 0 || step_.tokens[i] >= vocabSize_) throw std::out_of_range("token outside the vocabulary");
        if (sequence < 0 || sequence >= samplers_->size()) throw std::out_of_range("sequence outside the context");
        if (step_.positions[i] < 0) throw std::out_of_range("negative position");
        if (step_.outputs[i] == 0) continue;
        if (++outputs > batch_->rows()) throw std::out_of_range("more outputs than the context was made for");
        if (step_.outputs[i] == 2) {
            if (step_.targets[i] < 0 || step_.targets[i] >= vocabSize_) throw std::out_of_range("target outside the vocabulary");
            continue;
        }
        if (!samplers_->has(sequence)) throw std::logic_error("output without a sampler");
        if (hasOutput[sequence] && !step_.isDraft(i)) throw std::logic_error("outputs of a sequence that do not follow each other");
        hasOutput[sequence] = true;
    }
}

// step(count) -> Promise<number of outputs>: each has a sampled token, the target it was scored for, or -1 (batch_buffers.h). Rejects
// with an Error whose code is NO_KV_SLOT, ABORTED or STEP_FAILED.
Napi::Value Context::step(const Napi::CallbackInfo & info) {
    idle();
    const double asked = numberArgument(info[0]);
    const int32_t count = asked >= 1 && asked <= batch_->tokens.size() ? static_cast<int32_t>(asked) : 0;
    takeBatch(count);
    return submit(info.Env(), [this, count] { return runStep(count); });
}

// Runs the task on the context's thread. The caller has made sure that it is idle.
Napi::Value Context::submit(Napi::Env env, Task task) {
    running_ = Napi::Promise::Deferred::New(env);
    toMain_.Ref(env);
    Ref();  // until the task has settled, whoever else lets go
    {
        const std::lock_guard lock(mutex_);
        submitted_ = std::move(task);
    }
    wake_.notify_one();
    return running_->Promise();
}

void Context::runThread() {
    for (;;) {
        Task task;
        bool stopping = false;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return submitted_ || stopping_; });
            task = std::exchange(submitted_, nullptr);
            stopping = stopping_;
        }
        if (task) {
            const StepResult aborted{ 0, "the context was disposed", "ABORTED", nullptr };
            auto * result = new StepResult(stopping ? aborted : run(task));
            const auto status = toMain_.NonBlockingCall(result, [this](Napi::Env env, Napi::Function, StepResult * done) {
                const std::unique_ptr<StepResult> owned(done);
                settle(env, *owned);
            });
            if (status != napi_ok) delete result;  // the environment is going down; nobody waits any more
        }
        if (stopping) return;
    }
}

Context::StepResult Context::run(const Task & task) {
    try {
        return task();
    } catch (const std::exception & error) {
        return { 0, error.what(), "STEP_FAILED", nullptr };
    } catch (...) {
        return { 0, "a native exception of unknown type", "STEP_FAILED", nullptr };
    }
}

Context::StepResult Context::runStep(int32_t count) {
    llama_batch batch{ count, step_.tokens.data(), nullptr, step_.positions.data(), sequenceCounts_.data(),
                       sequencePointers_.data(), step_.outputs.data() };
    switch (const int32_t status = llama_decode(handle_->get(), batch)) {
        case 0: return sampleOutputs(count);
        case 1: return { 0, "no room in the KV cache for this step", "NO_KV_SLOT", nullptr };
        case 2: return { 0, "the step was aborted", "ABORTED", nullptr };
        default: return { 0, "llama_decode failed with status " + std::to_string(status), "STEP_FAILED", nullptr };
    }
}

// The logits' places are asked for here: llama.cpp may sort its outputs on the first question.
Context::StepResult Context::sampleOutputs(int32_t count) {
    std::vector<SequenceSamplers::Output> outputs;
    for (int32_t i = 0; i < count; i++) {
        if (step_.outputs[i] == 0) continue;
        float * logits = llama_get_logits_ith(handle_->get(), i);
        if (logits == nullptr) throw std::runtime_error("the step has no logits at a position");
        const llama_token target = step_.outputs[i] == 2 ? step_.targets[i] : LLAMA_TOKEN_NULL;
        outputs.push_back({ step_.sequences[i], logits, target, step_.isDraft(i) ? step_.tokens[i] : LLAMA_TOKEN_NULL });
    }
    samplers_->sample(outputs, *batch_);
    StepResult result;
    result.outputs = static_cast<int32_t>(outputs.size());
    return result;
}

void Context::settle(Napi::Env env, const StepResult & result) {
    const auto deferred = *std::exchange(running_, std::nullopt);
    toMain_.Unref(env);
    if (result.code == nullptr) {
        deferred.Resolve(result.value ? result.value(env) : Napi::Number::New(env, result.outputs));
    } else {
        auto error = Napi::Error::New(env, result.error);
        error.Set("code", result.code);
        deferred.Reject(error.Value());
    }
    Unref();
}

void Context::atExit(void * context) { static_cast<Context *>(context)->shutDown(); }

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
