// A llama_context with its step thread and its sequences' samplers. One step at a time: between submission and settlement of a
// step nothing else may touch the context, and every other method then throws.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ggml-cpu.h"
#include "llama.h"
#include "model.h"
#include "napi.h"
#include "sampler.h"

// What a step works on, shared with JavaScript as typed arrays: it writes the first four, reads the last.
struct BatchBuffers {
    std::vector<llama_token> tokens;
    std::vector<llama_pos> positions;
    std::vector<llama_seq_id> sequences;
    std::vector<int8_t> outputs;       // 1 = sample after this token
    std::vector<llama_token> sampled;  // one per output, in batch order

    explicit BatchBuffers(size_t size) : tokens(size), positions(size), sequences(size), outputs(size), sampled(size) {}
};

// llama_context and the thread pool it computes on, freed in the right order.
class ContextHandle {
  public:
    ContextHandle(llama_model * model, const llama_context_params & params);
    ~ContextHandle();
    ContextHandle(const ContextHandle &) = delete;
    ContextHandle & operator=(const ContextHandle &) = delete;

    llama_context * get() const { return context_; }
    std::atomic<bool> abort{ false };

  private:
    void attachThreadPool(int32_t threads);

    llama_context * context_ = nullptr;
    ggml_threadpool * pool_ = nullptr;
    void (*freePool_)(ggml_threadpool *) = nullptr;
};

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
    void settle(Napi::Env env, const StepResult & result);
    void shutDown();
    static void atExit(void * context);

    Model * model_;
    Napi::ObjectReference keepAlive_;
    std::shared_ptr<ContextHandle> handle_;
    std::shared_ptr<BatchBuffers> batch_;
    std::vector<int32_t> sequenceCounts_;        // all 1: every token belongs to one sequence
    std::vector<llama_seq_id *> sequencePointers_;
    std::vector<std::unique_ptr<Sampler>> samplers_;  // by sequence id

    std::optional<Napi::Promise::Deferred> running_;  // main thread only
    Napi::ThreadSafeFunction toMain_;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable wake_;
    int32_t submitted_ = 0;  // tokens of the step to run; 0 = none
    bool stopping_ = false;
};
