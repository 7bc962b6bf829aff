// A llama_context with its step thread and its sequences' samplers. One step, or copy of a sequence's state, at a time: between its
// submission and its settlement nothing else may touch the context, and every other method then throws.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "batch_buffers.h"
#include "context_handle.h"
#include "llama.h"
#include "model.h"
#include "napi.h"
#include "sampler.h"
#include "sampling_pool.h"

class Context : public Napi::ObjectWrap<Context> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // new Context(model, handle): only through createContext(), which builds the handle off the main thread.
    explicit Context(const Napi::CallbackInfo & info);
    ~Context() override;

  private:
    // createContext(model, options) -> Promise<Context>
    static Napi::Value create(const Napi::CallbackInfo & info);

    Napi::Value buffers(const Napi::CallbackInfo & info);
    Napi::Value step(const Napi::CallbackInfo & info);
    Napi::Value removeTokens(const Napi::CallbackInfo & info);
    Napi::Value copySequence(const Napi::CallbackInfo & info);
    Napi::Value firstPosition(const Napi::CallbackInfo & info);
    Napi::Value saveState(const Napi::CallbackInfo & info);
    Napi::Value loadState(const Napi::CallbackInfo & info);
    Napi::Value setSampler(const Napi::CallbackInfo & info);
    Napi::Value setAdapters(const Napi::CallbackInfo & info);
    Napi::Value clearSampler(const Napi::CallbackInfo & info);
    Napi::Value samplingFailure(const Napi::CallbackInfo & info);
    Napi::Value memory(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    struct Sequence {
        std::unique_ptr<Sampler> sampler;
        int32_t logprobs = -1;  // alternatives to report with each token; < 0 = no log-probabilities
        const char * failureCode = nullptr;  // why its last output has no token; null = it has one
        std::string failure;
    };

    // What is to be done with one token's logits.
    struct Output {
        Sequence * sequence;
        float * logits;
        llama_token target;  // the prompt's token to be scored; LLAMA_TOKEN_NULL = sample one
        llama_token draft;   // the token this output is after, when it was only guessed; else LLAMA_TOKEN_NULL
    };

    struct StepResult {
        int32_t outputs = 0;
        std::string error;
        const char * code = nullptr;  // null = success
        // What the promise gets, made on the main thread; empty = the number of outputs.
        std::function<Napi::Value(Napi::Env)> value;
    };
    using Task = std::function<StepResult()>;

    llama_context * idle();  // the context; throws when disposed or while a step runs
    llama_seq_id sequenceArgument(const Napi::Value & value);
    void validateBatch(int32_t count);
    bool follows(int32_t i) const;
    Napi::Value submit(Napi::Env env, Task task);
    void runThread();
    static StepResult run(const Task & task);
    StepResult runStep(int32_t count);
    StepResult sampleOutputs(int32_t count);
    void sampleAll(const std::vector<Output> & outputs);
    llama_token take(const Output & output, int32_t row);
    llama_token sampleOne(const Output & output, int32_t row) noexcept;
    llama_token sampleWithLogprobs(const Output & output, int32_t row);
    llama_token scoreOne(const Output & output, int32_t row);
    // The most likely tokens, behind the first place of the row; returns the softmax's normaliser.
    float writeTop(const float * logits, int32_t count, int32_t row);
    // The first place of the row.
    void writeOwn(const float * logits, llama_token token, float normaliser, int32_t row);
    void settle(Napi::Env env, const StepResult & result);
    void shutDown();
    static void atExit(void * context);

    Model * model_;
    Napi::ObjectReference keepAlive_;
    std::shared_ptr<ContextHandle> handle_;
    std::shared_ptr<BatchBuffers> batch_;
    std::vector<int32_t> sequenceCounts_;        // all 1: every token belongs to one sequence
    std::vector<llama_seq_id *> sequencePointers_;
    int32_t vocabSize_ = 0;
    std::vector<Sequence> sequences_;  // by id
    SamplingPool samplingPool_;

    std::optional<Napi::Promise::Deferred> running_;  // main thread only
    Napi::ObjectReference input_;                     // an array that the running task reads; main thread only
    Napi::ThreadSafeFunction toMain_;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable wake_;
    Task submitted_;  // empty = none
    bool stopping_ = false;
};
