#include "context_handle.h"

#include <stdexcept>

ContextHandle::ContextHandle(llama_model * model, const llama_context_params & wanted) : outputsMax_(wanted.n_outputs_max) {
    llama_context_params params = wanted;
    params.abort_callback = [](void * data) { return static_cast<std::atomic<bool> *>(data)->load(); };
    params.abort_callback_data = &abort;
    context_ = llama_init_from_model(model, params);
    if (context_ == nullptr) {
        throw std::runtime_error("llama.cpp could not create the context: too little memory, or settings it does not accept");
    }
    attachThreadPool(params.n_threads);
}

// Without a pool of its own every step would start and join its threads anew.
void ContextHandle::attachThreadPool(int32_t threads) {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (device == nullptr) return;
    ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(device);
    const auto create = reinterpret_cast<decltype(ggml_threadpool_new) *>(
        ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_new"));
    freePool_ = reinterpret_cast<decltype(ggml_threadpool_free) *>(
        ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_free"));
    if (create == nullptr || freePool_ == nullptr) return;
    ggml_threadpool_params params = ggml_threadpool_params_default(threads);
    pool_ = create(&params);
    if (pool_ != nullptr) llama_attach_threadpool(context_, pool_, pool_);
}

ContextHandle::~ContextHandle() {
    llama_free(context_);
    if (pool_ != nullptr) freePool_(pool_);
}
