#include "context.h"

#include <map>
#include <stdexcept>

#include "instance_data.h"
#include "llama-ext.h"
#include "logprob_row.h"
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
        InstanceMethod<&Context::memory>("memory"),
        InstanceMethod<&Context::dispose>("dispose"),
    }));
    exports.Set("createContext", Napi::Function::New<&Context::create>(env, "createContext"));
}

Napi::Value Context::create(const Napi::CallbackInfo & info) {
    const auto modelObject = info[0].As<Napi::Object>();
    llama_model * model = Napi::ObjectWrap<Model>::Unwrap(modelObject)->get();
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
    model_ = Napi::ObjectWrap<Model>::Unwrap(keepAlive_.Value());
    handle_ = std::move(*info[1].As<Napi::External<std::shared_ptr<ContextHandle>>>().Data());

    vocabSize_ = llama_vocab_n_tokens(model_->vocab());
    const size_t size = llama_n_batch(handle_->get());
    batch_ = std::make_shared<BatchBuffers>(size, llama_n_seq_max(handle_->get()) + maxScored);
    sequenceCounts_.assign(size, 1);
    for (auto & sequence : batch_->sequences) sequencePointers_.push_back(&sequence);
    sequences_.resize(llama_n_seq_max(handle_->get()));

    toMain_ = Napi::ThreadSafeFunction::New(info.Env(), Napi::Function::New(info.Env(), [](const Napi::CallbackInfo &) {}),
                                            "llama step", 0, 1);
    toMain_.Unref(info.Env());  // only a running step keeps the process alive
    thread_ = std::thread([this] { runThread(); });
    // At exit the thread must stop and the context go before node-llama-cpp's own finalizers free the model.
    napi_add_env_cleanup_hook(info.Env(), atExit, this);
}

Context::~Context() { shutDown(); }

// buffers() -> { tokens, positions, sequences, targets, sampled: Int32Array, outputs: Int8Array }, each n_batch long, and
// { topTokens: Int32Array, logprobs: Float32Array }: a row of 1 + 20 per output.
Napi::Value Context::buffers(const Napi::CallbackInfo & info) {
    const auto env = info.Env();
    const size_t size = batch_->tokens.size();
    // The arrays share ownership of the memory, so they stay valid after dispose().
    const auto share = [&](void * data, size_t bytes) {
        return Napi::ArrayBuffer::New(env, data, bytes, [keep = batch_](Napi::Env, void *) {});
    };
    const auto int32 = [&](std::vector<int32_t> & values) {
        return Napi::Int32Array::New(env, size, share(values.data(), size * sizeof(int32_t)), 0);
    };
    auto result = Napi::Object::New(env);
    result.Set("tokens", int32(batch_->tokens));
    result.Set("positions", int32(batch_->positions));
    result.Set("sequences", int32(batch_->sequences));
    result.Set("outputs", Napi::Int8Array::New(env, size, share(batch_->outputs.data(), size), 0));
    result.Set("targets", int32(batch_->targets));
    result.Set("sampled", int32(batch_->sampled));
    const size_t rows = batch_->logprobs.size();
    result.Set("topTokens", Napi::Int32Array::New(env, rows, share(batch_->topTokens.data(), rows * sizeof(llama_token)), 0));
    result.Set("logprobs", Napi::Float32Array::New(env, rows, share(batch_->logprobs.data(), rows * sizeof(float)), 0));
    return result;
}

llama_context * Context::idle() {
    if (!handle_) throw std::runtime_error("the context has been disposed");
    if (running_) throw std::runtime_error("a step is running");
    model_->get();
    return handle_->get();
}

llama_seq_id Context::sequenceArgument(const Napi::Value & value) {
    const auto id = value.ToNumber().Int64Value();
    if (id < 0 || id >= static_cast<int64_t>(sequences_.size())) throw std::out_of_range("no such sequence: " + std::to_string(id));
    return static_cast<llama_seq_id>(id);
}

// llama_decode itself checks that positions continue each sequence; what it takes on trust is checked here.
void Context::validateBatch(int32_t count) {
    if (count < 1 || count > static_cast<int32_t>(batch_->tokens.size())) throw std::out_of_range("a step takes 1 to n_batch tokens");
    const int32_t sequences = sequences_.size();
    for (int32_t i = 0; i < count; i++) {
        const llama_seq_id sequence = batch_->sequences[i];
        if (batch_->tokens[i] < 0 || batch_->tokens[i] >= vocabSize_) throw std::out_of_range("token outside the vocabulary");
        if (sequence < 0 || sequence >= sequences) throw std::out_of_range("sequence outside the context");
        if (batch_->positions[i] < 0) throw std::out_of_range("negative position");
        if (batch_->outputs[i] == 2) {
            if (batch_->targets[i] < 0 || batch_->targets[i] >= vocabSize_) throw std::out_of_range("target outside the vocabulary");
        } else if (batch_->outputs[i] != 0 && !sequences_[sequence].sampler) {
            throw std::logic_error("output without a sampler");
        }
    }
}

// step(count) -> Promise<number of outputs>. Rejects with an Error whose code is NO_KV_SLOT, ABORTED or STEP_FAILED.
Napi::Value Context::step(const Napi::CallbackInfo & info) {
    idle();
    const double asked = info[0].ToNumber().DoubleValue();
    const int32_t count = asked >= 1 && asked <= batch_->tokens.size() ? static_cast<int32_t>(asked) : 0;
    validateBatch(count);
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
        llama_batch batch{ count, batch_->tokens.data(), nullptr, batch_->positions.data(), sequenceCounts_.data(),
                           sequencePointers_.data(), batch_->outputs.data() };
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

Context::StepResult Context::sampleOutputs(int32_t count) {
    StepResult result;
    for (int32_t i = 0; i < count; i++) {
        if (batch_->outputs[i] == 0) continue;
        if (result.outputs == static_cast<int32_t>(sequences_.size()) + maxScored) throw std::logic_error("more outputs than rows");
        if (batch_->outputs[i] == 2) scoreOne(batch_->targets[i], i, result.outputs);
        else batch_->sampled[result.outputs] = sampleOne(sequences_[batch_->sequences[i]], i, result.outputs);
        result.outputs++;
    }
    return result;
}

// Log-probabilities first: sampling may change the logits.
llama_token Context::sampleOne(Sequence & sequence, int32_t index, int32_t output) {
    if (sequence.logprobs < 0) return sequence.sampler->sample(handle_->get(), index);
    const float * logits = logitsAt(index);
    LogprobRow row(*batch_, output, logits, vocabSize_, sequence.logprobs);
    rawLogits_.assign(logits, logits + vocabSize_);
    const llama_token token = sequence.sampler->sample(handle_->get(), index);
    row.setToken(token, rawLogits_[token]);
    return token;
}

void Context::scoreOne(llama_token target, int32_t index, int32_t output) {
    const float * logits = logitsAt(index);
    LogprobRow(*batch_, output, logits, vocabSize_, maxLogprobs).setToken(target, logits[target]);
    batch_->sampled[output] = target;
}

const float * Context::logitsAt(int32_t index) {
    const float * logits = llama_get_logits_ith(handle_->get(), index);
    if (logits == nullptr) throw std::runtime_error("the step has no logits at this position");
    return logits;
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

void Context::atExit(void * context) { static_cast<Context *>(context)->shutDown(); }

// removeTokens(sequence, from, to) -> boolean: false when this kind of memory cannot drop that part. to < 0: to the end.
Napi::Value Context::removeTokens(const Napi::CallbackInfo & info) {
    llama_memory_t memory = llama_get_memory(idle());
    const bool done = llama_memory_seq_rm(memory, sequenceArgument(info[0]), info[1].ToNumber(), info[2].ToNumber());
    return Napi::Boolean::New(info.Env(), done);
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

// setSampler(sequence, settings or PreparedSampler, prompt: Int32Array, logprobs): logprobs < 0 = none, else how many per token.
Napi::Value Context::setSampler(const Napi::CallbackInfo & info) {
    idle();
    Sequence & sequence = sequences_[sequenceArgument(info[0])];
    const auto object = info[1].As<Napi::Object>();
    const auto prompt = info[2].As<Napi::Int32Array>();
    const bool prepared = object.InstanceOf(info.Env().GetInstanceData<InstanceData>()->preparedSamplerClass.Value());
    sequence.sampler = prepared ? PreparedSampler::Unwrap(object)->take()
                                : std::make_unique<Sampler>(model_->get(), parseSampling(object, vocabSize_));
    sequence.sampler->acceptPrompt(std::span(prompt.Data(), prompt.ElementLength()));
    sequence.logprobs = std::min(info[3].IsNumber() ? info[3].ToNumber().Int32Value() : -1, maxLogprobs);
    return info.Env().Undefined();
}

Napi::Value Context::clearSampler(const Napi::CallbackInfo & info) {
    idle();
    sequences_[sequenceArgument(info[0])].sampler.reset();
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
    for (auto & sequence : sequences_) sequence.sampler.reset();
    handle_.reset();
}
