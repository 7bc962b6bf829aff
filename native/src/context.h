// A llama_context with its step thread and its sequences' samplers. One step at a time: between submission and settlement of a
// step nothing else may touch the context, and every other method then throws.
#pragma once

#include <condition_variable>
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
    Napi::Value setSampler(const Napi::CallbackInfo & info);
    Napi::Value clearSampler(const Napi::CallbackInfo & info);
    Napi::Value memory(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    struct Sequence {
        std::unique_ptr<Sampler> sampler;
        int32_t logprobs = -1;  // alternatives to report with each token; < 0 = no log-probabilities
    };

    struct StepResult {
        int32_t outputs = 0;
        std::string error;
        const char * code = nullptr;  // null = success
    };

    llama_context * idle();  // the context; throws when disposed or while a step runs
    llama_seq_id sequenceArgument(const Napi::Value & value);
    void validateBatch(int32_t count);
    void runThread();
    StepResult runStep(int32_t count);
    StepResult sampleOutputs(int32_t count);
    llama_token sampleOne(Sequence & sequence, int32_t index, int32_t output);
    // Writes the row of a token that is in the prompt already.
    void scoreOne(llama_token target, int32_t index, int32_t output);
    const float * logitsAt(int32_t index);
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
    std::vector<float> rawLogits_;     // a copy, while log-probabilities are wanted

    std::optional<Napi::Promise::Deferred> running_;  // main thread only
    Napi::ThreadSafeFunction toMain_;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable wake_;
    int32_t submitted_ = 0;  // tokens of the step to run; 0 = none
    bool stopping_ = false;
};
