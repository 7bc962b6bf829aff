// The part of Context that is about what sequences hold: cutting, copying, taking out and putting back.
#include "context.h"

#include "arguments.h"

#include <stdexcept>

#include "sequence_state.h"

// removeTokens(sequence, from, to) -> boolean: false when this kind of memory cannot drop that part. to < 0: to the end.
Napi::Value Context::removeTokens(const Napi::CallbackInfo & info) {
    llama_memory_t memory = llama_get_memory(idle());
    const llama_seq_id sequence = sequenceArgument(info[0]);
    const bool done = llama_memory_seq_rm(memory, sequence, positionArgument(info[1]), positionArgument(info[2]));
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

// firstPosition(sequence): the first position that is still in the memory of every layer; -1 when the sequence is empty.
Napi::Value Context::firstPosition(const Napi::CallbackInfo & info) {
    llama_memory_t memory = llama_get_memory(idle());
    return Napi::Number::New(info.Env(), llama_memory_seq_pos_min(memory, sequenceArgument(info[0])));
}

// saveState(sequence, partial, maxBytes) -> Promise<Uint8Array | null>; what `partial` means is in sequence_state.h.
Napi::Value Context::saveState(const Napi::CallbackInfo & info) {
    llama_context * context = idle();
    return submit(info.Env(), [context, sequence = sequenceArgument(info[0]), partial = info[1].ToBoolean().Value(),
                               most = numberArgument(info[2])] {
        StepResult result;
        auto taken = takeState(context, sequence, partial, most);
        auto bytes = taken ? std::make_shared<std::vector<uint8_t>>(std::move(*taken)) : nullptr;
        result.value = [bytes](Napi::Env env) -> Napi::Value {
            if (!bytes) return env.Null();
            auto buffer = Napi::ArrayBuffer::New(env, bytes->data(), bytes->size(), [bytes](Napi::Env, void *) {});
            return Napi::Uint8Array::New(env, bytes->size(), buffer, 0);
        };
        return result;
    });
}

// loadState(sequence, bytes, partial) -> Promise<boolean>: false when they are not such a state; the sequence may hold anything then.
Napi::Value Context::loadState(const Napi::CallbackInfo & info) {
    llama_context * context = idle();
    const llama_seq_id sequence = sequenceArgument(info[0]);
    if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        throw std::invalid_argument("a state is a Uint8Array");
    }
    const auto array = info[1].As<Napi::Uint8Array>();
    input_ = Napi::Persistent(array.As<Napi::Object>());
    const std::span<const uint8_t> bytes(array.Data(), array.ByteLength());
    return submit(info.Env(), [context, sequence, bytes, partial = info[2].ToBoolean().Value()] {
        StepResult result;
        const bool done = putState(context, sequence, bytes, partial);
        result.value = [done](Napi::Env env) -> Napi::Value { return Napi::Boolean::New(env, done); };
        return result;
    });
}
