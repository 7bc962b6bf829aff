#include "context.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "arguments.h"
#include "instance_data.h"
#include "results.h"
#include "settings.h"

void Context::define(Napi::Env env, Napi::Object exports) {
    env.GetInstanceData<InstanceData>()->contextClass = Napi::Persistent(DefineClass(env, "Context", {
        InstanceMethod<&Context::buffers>("buffers"),
        InstanceMethod<&Context::step>("step"),
        InstanceMethod<&Context::runsAhead>("runsAhead"),
        InstanceMethod<&Context::next>("next"),
        InstanceMethod<&Context::hold>("hold"),
        InstanceMethod<&Context::stepMs>("stepMs"),
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
    return createOnModel<std::shared_ptr<ContextHandle>>(
        modelObject, &InstanceData::contextClass,
        [model, params = parseContextParams(info[1].As<Napi::Object>())] { return std::make_shared<ContextHandle>(model, params); });
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
    outputs_.fill(BatchOutput(size, handle_->outputsMax()));
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
    if (running_ || ahead_) throw std::runtime_error("a step is running");
    model_->get();
    return handle_->get();
}

llama_seq_id Context::sequenceArgument(const Napi::Value & value) {
    const double id = numberArgument(value);
    if (!(id >= 0 && id < samplers_->size())) throw std::out_of_range("no such sequence");
    return static_cast<llama_seq_id>(id);
}

// Runs the task on the context's thread. The caller has made sure that it is idle.
Napi::Value Context::submit(Napi::Env env, Task task, bool goOn) {
    running_ = Napi::Promise::Deferred::New(env);
    toMain_.Ref(env);
    Ref();  // until the thread has nothing more to do, whoever else lets go
    {
        const std::lock_guard lock(mutex_);
        submitted_ = std::move(task);
        goOn_ = goOn;
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
        while (task) {
            auto result = std::make_unique<StepResult>(stopping ? failed("ABORTED", "the context was disposed") : run(task));
            if (!goesOn(*result)) task = nullptr;
            const auto status = toMain_.NonBlockingCall(result.get(), [this](Napi::Env env, Napi::Function, StepResult * done) {
                arrived(env, std::unique_ptr<StepResult>(done));
            });
            if (status != napi_ok) break;  // the environment is going down; nobody waits any more
            result.release();
        }
        if (stopping) return;
    }
}

Context::StepResult Context::failed(const char * code, std::string why) {
    StepResult result;
    result.code = code;
    result.error = std::move(why);
    return result;
}

Context::StepResult Context::run(const Task & task) {
    try {
        return task();
    } catch (const std::exception & error) {
        return failed("STEP_FAILED", error.what());
    } catch (...) {
        return failed("STEP_FAILED", "a native exception of unknown type");
    }
}

// On the main thread, once for every task: tells who waits for it, or keeps it until somebody asks.
void Context::arrived(Napi::Env env, std::unique_ptr<StepResult> result) {
    const bool last = !result->goesOn;
    if (running_) settle(env, *result);
    else early_ = std::move(result);
    if (!last) return;
    toMain_.Unref(env);
    Unref();
}

void Context::settle(Napi::Env env, const StepResult & result) {
    const auto deferred = *std::exchange(running_, std::nullopt);
    ahead_ = result.goesOn;
    stepMs_ = result.ms;
    if (result.code != nullptr) {
        auto error = Napi::Error::New(env, result.error);
        error.Set("code", result.code);
        return deferred.Reject(error.Value());
    }
    if (result.output != nullptr) batch_->BatchOutput::copyFrom(*result.output, result.outputs);
    deferred.Resolve(result.value ? result.value(env) : Napi::Number::New(env, result.outputs));
}

void Context::atExit(void * context) { static_cast<Context *>(context)->shutDown(); }

// memory() -> { modelBytes, contextBytes, computeBytes } over all devices.
Napi::Value Context::memory(const Napi::CallbackInfo & info) {
    return memoryReport(info.Env(), idle());
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
