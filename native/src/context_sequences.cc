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

namespace {

using StateBytes = std::shared_ptr<std::vector<uint8_t>>;

// Marks the arrays that saveState() made.
constexpr napi_type_tag stateTag{ 0x6c6c616d61676775, 0x662d737461746573 };

Napi::Value shareState(Napi::Env env, const StateBytes & bytes) {
    auto buffer = Napi::ArrayBuffer::New(env, bytes->data(), bytes->size(), [bytes](Napi::Env, void *) {});
    auto array = Napi::Uint8Array::New(env, bytes->size(), buffer, 0);
    auto owned = std::make_unique<StateBytes>(bytes);
    const auto release = [](napi_env, void * data, void *) { delete static_cast<StateBytes *>(data); };
    if (napi_wrap(env, array, owned.get(), release, nullptr, nullptr) != napi_ok) return array;
    owned.release();
    napi_type_tag_object(env, array, &stateTag);
    return array;
}

// Another thread reads the bytes, whatever JavaScript does with the array meanwhile: those of an array of saveState() are kept alive,
// all others copied here.
struct StateArgument {
    StateBytes bytes;
    bool writable;  // by JavaScript
};

StateArgument stateArgument(const Napi::Value & value) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        throw std::invalid_argument("a state is a Uint8Array");
    }
    bool tagged = false;
    void * owned = nullptr;
    napi_check_object_type_tag(value.Env(), value, &stateTag, &tagged);
    if (tagged && napi_unwrap(value.Env(), value, &owned) == napi_ok) return { *static_cast<StateBytes *>(owned), true };
    const auto array = value.As<Napi::Uint8Array>();
    return { std::make_shared<std::vector<uint8_t>>(array.Data(), array.Data() + array.ByteLength()), false };
}

}  // namespace

// saveState(sequence, partial, maxBytes) -> Promise<Uint8Array | null>; what `partial` means is in sequence_state.h.
Napi::Value Context::saveState(const Napi::CallbackInfo & info) {
    llama_context * context = idle();
    return submit(info.Env(), [context, sequence = sequenceArgument(info[0]), partial = info[1].ToBoolean().Value(),
                               most = numberArgument(info[2])] {
        StepResult result;
        auto taken = takeState(context, sequence, partial, most);
        const auto bytes = taken ? std::make_shared<std::vector<uint8_t>>(std::move(*taken)) : nullptr;
        result.value = [bytes](Napi::Env env) { return bytes ? shareState(env, bytes) : env.Null(); };
        return result;
    });
}

// loadState(sequence, bytes, partial) -> Promise<boolean>: false when they are not such a state; the sequence may hold anything then.
Napi::Value Context::loadState(const Napi::CallbackInfo & info) {
    llama_context * context = idle();
    const llama_seq_id sequence = sequenceArgument(info[0]);
    return submit(info.Env(), [context, sequence, state = stateArgument(info[1]), partial = info[2].ToBoolean().Value()] {
        StepResult result;
        // What is checked must be what is read.
        const bool done = state.writable ? putState(context, sequence, std::vector(*state.bytes), partial)
                                         : putState(context, sequence, *state.bytes, partial);
        result.value = [done](Napi::Env env) -> Napi::Value { return Napi::Boolean::New(env, done); };
        return result;
    });
}
