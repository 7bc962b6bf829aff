#include "context.h"

#include <map>
#include <stdexcept>

#include "adapters.h"
#include "instance_data.h"
#include "llama-ext.h"
#include "logits.h"
#include "prepared_sampler.h"
#include "promise_worker.h"
#include "settings.h"

namespace {

// With fewer logits in a step, waking other threads costs more than they save.
constexpr int64_t minParallelLogits = 1 << 18;

}  // namespace

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
        InstanceMethod<&Context::samplingFailure>("samplingFailure"),
        InstanceMethod<&Context::setAdapters>("setAdapters"),
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

namespace {

int32_t samplingThreads(const Napi::CallbackInfo & info) {
    if (!info[1].IsExternal()) throw std::invalid_argument("use createContext()");
    return llama_n_threads((*info[1].As<Napi::External<std::shared_ptr<ContextHandle>>>().Data())->get());
}

}  // namespace

Context::Context(const Napi::CallbackInfo & info) : Napi::ObjectWrap<Context>(info), samplingPool_(samplingThreads(info)) {
    keepAlive_ = Napi::Persistent(info[0].As<Napi::Object>());
    model_ = Napi::ObjectWrap<Model>::Unwrap(keepAlive_.Value());
    handle_ = std::move(*info[1].As<Napi::External<std::shared_ptr<ContextHandle>>>().Data());

    vocabSize_ = llama_vocab_n_tokens(model_->vocab());
    const size_t size = llama_n_batch(handle_->get());
    batch_ = std::make_shared<BatchBuffers>(size, handle_->outputsMax());
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

// buffers() -> the batch's arrays (batch_buffers.h)
Napi::Value Context::buffers(const Napi::CallbackInfo & info) { return shareBuffers(info.Env(), batch_); }

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
    std::vector<bool> hasOutput(sequences);
    size_t outputs = 0;
    for (int32_t i = 0; i < count; i++) {
        const llama_seq_id sequence = batch_->sequences[i];
        if (batch_->tokens[i] < 0 || batch_->tokens[i] >= vocabSize_) throw std::out_of_range("token outside the vocabulary");
        if (sequence < 0 || sequence >= sequences) throw std::out_of_range("sequence outside the context");
        if (batch_->positions[i] < 0) throw std::out_of_range("negative position");
        if (batch_->outputs[i] == 0) continue;
        if (++outputs > batch_->rows()) throw std::out_of_range("more outputs than the context was made for");
        if (batch_->outputs[i] == 2) {
            if (batch_->targets[i] < 0 || batch_->targets[i] >= vocabSize_) throw std::out_of_range("target outside the vocabulary");
            continue;
        }
        if (!sequences_[sequence].sampler) throw std::logic_error("output without a sampler");
        const bool drafted = follows(i);
        if (hasOutput[sequence] && !drafted) throw std::logic_error("outputs of a sequence that do not follow each other");
        hasOutput[sequence] = true;
    }
}

// An output right after another one of its sequence is a drafted token.
bool Context::follows(int32_t i) const {
    return i > 0 && batch_->outputs[i - 1] == 1 && batch_->outputs[i] == 1 && batch_->sequences[i - 1] == batch_->sequences[i];
}

// step(count) -> Promise<number of outputs>: each has a sampled token, the target it was scored for, or -1 (batch_buffers.h). Rejects
// with an Error whose code is NO_KV_SLOT, ABORTED or STEP_FAILED.
Napi::Value Context::step(const Napi::CallbackInfo & info) {
    idle();
    const double asked = info[0].ToNumber().DoubleValue();
    const int32_t count = asked >= 1 && asked <= batch_->tokens.size() ? static_cast<int32_t>(asked) : 0;
    validateBatch(count);
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
    llama_batch batch{ count, batch_->tokens.data(), nullptr, batch_->positions.data(), sequenceCounts_.data(),
                       sequencePointers_.data(), batch_->outputs.data() };
    switch (const int32_t status = llama_decode(handle_->get(), batch)) {
        case 0: return sampleOutputs(count);
        case 1: return { 0, "no room in the KV cache for this step", "NO_KV_SLOT", nullptr };
        case 2: return { 0, "the step was aborted", "ABORTED", nullptr };
        default: return { 0, "llama_decode failed with status " + std::to_string(status), "STEP_FAILED", nullptr };
    }
}

// The logits' places are asked for here: llama.cpp may sort its outputs on the first question.
Context::StepResult Context::sampleOutputs(int32_t count) {
    std::vector<Output> outputs;
    for (int32_t i = 0; i < count; i++) {
        if (batch_->outputs[i] == 0) continue;
        float * logits = llama_get_logits_ith(handle_->get(), i);
        if (logits == nullptr) throw std::runtime_error("the step has no logits at a position");
        const llama_token target = batch_->outputs[i] == 2 ? batch_->targets[i] : LLAMA_TOKEN_NULL;
        outputs.push_back({ &sequences_[batch_->sequences[i]], logits, target, follows(i) ? batch_->tokens[i] : LLAMA_TOKEN_NULL });
    }
    sampleAll(outputs);
    StepResult result;
    result.outputs = static_cast<int32_t>(outputs.size());
    return result;
}

// A sequence's outputs stay together, in order, on one thread: each drafted token depends on the one before it.
void Context::sampleAll(const std::vector<Output> & outputs) {
    std::vector<int32_t> firsts;
    for (int32_t row = 0; row < static_cast<int32_t>(outputs.size()); row++) {
        if (outputs[row].draft == LLAMA_TOKEN_NULL) firsts.push_back(row);
    }
    const auto count = static_cast<int32_t>(firsts.size());
    firsts.push_back(outputs.size());
    const auto sample = [&](int32_t i) {
        for (int32_t row = firsts[i]; row < firsts[i + 1]; row++) batch_->sampled[row] = take(outputs[row], row);
    };
    const bool worthIt = count > 1 && int64_t{ count } * vocabSize_ >= minParallelLogits;
    if (worthIt && samplingPool_.threads() > 1) return samplingPool_.run(count, sample);
    for (int32_t i = 0; i < count; i++) sample(i);
}

// A drafted token counts only if it is the token sampled before it; if not, nothing is sampled after it, so that the sampler sees
// exactly the tokens it would have seen without a draft.
llama_token Context::take(const Output & output, int32_t row) {
    if (output.target != LLAMA_TOKEN_NULL) return scoreOne(output, row);
    if (output.draft != LLAMA_TOKEN_NULL && batch_->sampled[row - 1] != output.draft) return LLAMA_TOKEN_NULL;
    return sampleOne(output, row);
}

// -1: there is no token, and the sequence says why. A sequence's failure is not the step's.
llama_token Context::sampleOne(const Output & output, int32_t row) noexcept {
    Sequence & sequence = *output.sequence;
    const auto fail = [&](const char * code, const char * why) {
        sequence.failureCode = code;
        sequence.failure = why;
        return LLAMA_TOKEN_NULL;
    };
    try {
        if (sequence.failureCode != nullptr) return LLAMA_TOKEN_NULL;
        return sequence.logprobs < 0 ? sequence.sampler->sample(output.logits) : sampleWithLogprobs(output, row);
    } catch (const GrammarTooComplex & error) {
        return fail("GRAMMAR_TOO_COMPLEX", error.what());
    } catch (const GrammarDeadEnd & error) {
        return fail("GRAMMAR_DEAD_END", error.what());
    } catch (const std::exception & error) {
        return fail("SAMPLING_FAILED", error.what());
    } catch (...) {
        return fail("SAMPLING_FAILED", "a native exception of unknown type");
    }
}

llama_token Context::sampleWithLogprobs(const Output & output, int32_t row) {
    const float normaliser = writeTop(output.logits, output.sequence->logprobs, row);
    const llama_token token = output.sequence->sampler->sample(output.logits);
    writeOwn(output.logits, token, normaliser, row);
    return token;
}

llama_token Context::scoreOne(const Output & output, int32_t row) {
    writeOwn(output.logits, output.target, writeTop(output.logits, maxLogprobs, row), row);
    return output.target;
}

float Context::writeTop(const float * logits, int32_t count, int32_t row) {
    const size_t first = static_cast<size_t>(row) * (maxLogprobs + 1);
    std::vector<TokenLogprob> top;
    const float normaliser = topLogprobs(logits, vocabSize_, count, top);
    for (size_t i = 0; i < top.size(); i++) {
        batch_->topTokens[first + 1 + i] = top[i].token;
        batch_->logprobs[first + 1 + i] = top[i].logprob;
    }
    return normaliser;
}

void Context::writeOwn(const float * logits, llama_token token, float normaliser, int32_t row) {
    const size_t first = static_cast<size_t>(row) * (maxLogprobs + 1);
    batch_->topTokens[first] = token;
    batch_->logprobs[first] = logits[token] - normaliser;
}

void Context::settle(Napi::Env env, const StepResult & result) {
    const auto deferred = *std::exchange(running_, std::nullopt);
    toMain_.Unref(env);
    input_.Reset();
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

// setSampler(sequence, settings or PreparedSampler, prompt: Int32Array, logprobs): logprobs < 0 = none, else how many per token.
Napi::Value Context::setSampler(const Napi::CallbackInfo & info) {
    idle();
    Sequence & sequence = sequences_[sequenceArgument(info[0])];
    const auto object = info[1].As<Napi::Object>();
    const auto prompt = info[2].As<Napi::Int32Array>();
    const bool prepared = object.InstanceOf(info.Env().GetInstanceData<InstanceData>()->preparedSamplerClass.Value());
    sequence.sampler = prepared ? PreparedSampler::Unwrap(object)->take()
                                : std::make_unique<Sampler>(model_->get(), parseSampling(object, vocabSize_));
    sequence.failureCode = nullptr;
    sequence.sampler->acceptPrompt(std::span(prompt.Data(), prompt.ElementLength()));
    sequence.logprobs = std::min(info[3].IsNumber() ? info[3].ToNumber().Int32Value() : -1, maxLogprobs);
    return info.Env().Undefined();
}

// samplingFailure(sequence) -> { code, message } of the output that got -1 instead of a token, or null.
Napi::Value Context::samplingFailure(const Napi::CallbackInfo & info) {
    idle();
    const Sequence & sequence = sequences_[sequenceArgument(info[0])];
    if (sequence.failureCode == nullptr) return info.Env().Null();
    auto result = Napi::Object::New(info.Env());
    result.Set("code", sequence.failureCode);
    result.Set("message", sequence.failure);
    return result;
}

Napi::Value Context::clearSampler(const Napi::CallbackInfo & info) {
    idle();
    sequences_[sequenceArgument(info[0])].sampler.reset();
    return info.Env().Undefined();
}

// setAdapters(scales: number[]): of the model's LoRA adapters, for the steps from now on; 0 = without it.
Napi::Value Context::setAdapters(const Napi::CallbackInfo & info) {
    llama_context * context = idle();
    applyAdapters(context, model_->adapters(), parseScales(info[0], model_->adapters().size()));
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
