#include "batch_buffers.h"

Napi::Object shareBuffers(Napi::Env env, const std::shared_ptr<BatchBuffers> & batch) {
    const size_t size = batch->tokens.size();
    // The arrays share ownership of the memory, so they stay valid after dispose().
    const auto share = [&](void * data, size_t bytes) {
        return Napi::ArrayBuffer::New(env, data, bytes, [keep = batch](Napi::Env, void *) {});
    };
    const auto int32 = [&](std::vector<int32_t> & values) {
        return Napi::Int32Array::New(env, size, share(values.data(), size * sizeof(int32_t)), 0);
    };
    auto result = Napi::Object::New(env);
    result.Set("tokens", int32(batch->tokens));
    result.Set("positions", int32(batch->positions));
    result.Set("sequences", int32(batch->sequences));
    result.Set("outputs", Napi::Int8Array::New(env, size, share(batch->outputs.data(), size), 0));
    result.Set("targets", int32(batch->targets));
    result.Set("sampled", int32(batch->sampled));
    const size_t rows = batch->logprobs.size();
    result.Set("topTokens", Napi::Int32Array::New(env, rows, share(batch->topTokens.data(), rows * sizeof(llama_token)), 0));
    result.Set("logprobs", Napi::Float32Array::New(env, rows, share(batch->logprobs.data(), rows * sizeof(float)), 0));
    return result;
}
