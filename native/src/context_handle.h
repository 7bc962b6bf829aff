// llama_context and the thread pool it computes on, freed in the right order. No JavaScript here: it is made on a pool thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "ggml-cpu.h"
#include "llama.h"

class ContextHandle {
  public:
    // Throws std::runtime_error when llama.cpp refuses.
    ContextHandle(llama_model * model, const llama_context_params & params);
    ~ContextHandle();
    ContextHandle(const ContextHandle &) = delete;
    ContextHandle & operator=(const ContextHandle &) = delete;

    llama_context * get() const { return context_; }
    uint32_t outputsMax() const { return outputsMax_; }  // of one batch
    std::atomic<bool> abort{ false };

  private:
    void attachThreadPool(int32_t threads);

    llama_context * context_ = nullptr;
    uint32_t outputsMax_;
    ggml_threadpool * pool_ = nullptr;
    void (*freePool_)(ggml_threadpool *) = nullptr;
};
