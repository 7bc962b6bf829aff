// A llama_context with its step thread and its sequences' samplers. One step, or copy of a sequence's state, at a time: between its
// submission and its settlement nothing else may touch the context, and every other method then throws. Where it was allowed to, the
// thread goes on with the next step itself, while JavaScript reads what the one before brought.
#pragma once

#include <array>
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
#include "sequence_samplers.h"

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
    Napi::Value runsAhead(const Napi::CallbackInfo & info);
    Napi::Value next(const Napi::CallbackInfo & info);
    Napi::Value hold(const Napi::CallbackInfo & info);
    Napi::Value stepMs(const Napi::CallbackInfo & info);
    Napi::Value removeTokens(const Napi::CallbackInfo & info);
    Napi::Value copySequence(const Napi::CallbackInfo & info);
    Napi::Value firstPosition(const Napi::CallbackInfo & info);
    Napi::Value saveState(const Napi::CallbackInfo & info);
    Napi::Value loadState(const Napi::CallbackInfo & info);
    Napi::Value setSampler(const Napi::CallbackInfo & info);
    Napi::Value setAdapters(const Napi::CallbackInfo & info);
    Napi::Value clearSampler(const Napi::CallbackInfo & info);
    Napi::Value moveSampler(const Napi::CallbackInfo & info);
    Napi::Value samplingFailure(const Napi::CallbackInfo & info);
    Napi::Value memory(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    struct StepResult {
        std::string error;
        const char * code = nullptr;  // null = success
        // Of a step.
        int32_t outputs = 0;
        const BatchOutput * output = nullptr;
        double ms = 0;
        bool goesOn = false;  // the thread has begun another step by itself
        // What the promise gets, made on the main thread; empty = the number of outputs.
        std::function<Napi::Value(Napi::Env)> value;
    };
    using Task = std::function<StepResult()>;

    llama_context * idle();  // the context; throws when disposed or while a step runs
    llama_seq_id sequenceArgument(const Napi::Value & value);
    void takeBatch(int32_t count);
    Napi::Value submit(Napi::Env env, Task task, bool goOn = false);
    void allowAhead(bool allowed);
    void runThread();
    static StepResult failed(const char * code, std::string why);
    static StepResult run(const Task & task);
    StepResult runStep(int32_t count);
    StepResult sampleOutputs(int32_t count);
    bool goesOn(StepResult & result);
    void arrived(Napi::Env env, std::unique_ptr<StepResult> result);
    void settle(Napi::Env env, const StepResult & result);
    void shutDown();
    static void atExit(void * context);

    Model * model_;
    Napi::ObjectReference keepAlive_;
    std::shared_ptr<ContextHandle> handle_;
    std::shared_ptr<BatchBuffers> batch_;
    BatchInput step_;                            // of the running step, which JavaScript cannot reach
    int32_t count_ = 0;                          // its tokens
    bool repeatable_ = false;                    // it has one token of each sequence, and none to score
    std::array<BatchOutput, 2> outputs_;         // of the running step, and of the one before until JavaScript has it
    int32_t output_ = 0;                         // the one that was written last
    std::vector<int32_t> sequenceCounts_;        // all 1: every token belongs to one sequence
    std::vector<llama_seq_id *> sequencePointers_;
    int32_t vocabSize_ = 0;
    std::unique_ptr<SequenceSamplers> samplers_;

    // Main thread only.
    std::optional<Napi::Promise::Deferred> running_;
    bool ahead_ = false;                 // a step runs, or has run, that nobody has asked for
    std::unique_ptr<StepResult> early_;  // what it brought
    double stepMs_ = 0;

    Napi::ThreadSafeFunction toMain_;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable wake_;
    Task submitted_;  // empty = none
    bool goOn_ = false;  // after the running step
    bool stopping_ = false;
};
