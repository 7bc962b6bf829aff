// The part of Context that is about how it computes and samples for each sequence: samplers, their failures, LoRA adapters.
#include "context.h"

#include <stdexcept>

#include "adapters.h"
#include "arguments.h"
#include "instance_data.h"
#include "prepared_sampler.h"
#include "settings.h"

// setSampler(sequence, settings or PreparedSampler, prompt: Int32Array, logprobs): logprobs < 0 = none, else how many per token.
Napi::Value Context::setSampler(const Napi::CallbackInfo & info) {
    idle();
    const llama_seq_id sequence = sequenceArgument(info[0]);
    if (!info[1].IsObject()) throw std::invalid_argument("a sampler is settings or a prepared one");
    const auto object = info[1].As<Napi::Object>();
    const auto prompt = tokensArgument(info[2], vocabSize_);
    const bool prepared = object.InstanceOf(info.Env().GetInstanceData<InstanceData>()->preparedSamplerClass.Value());
    auto sampler = prepared ? PreparedSampler::Unwrap(object)->take()
                            : std::make_unique<Sampler>(model_->get(), parseSampling(object, vocabSize_));
    sampler->acceptPrompt(prompt);
    idle();  // reading the settings may have run JavaScript
    samplers_->set(sequence, std::move(sampler), info[3].IsNumber() ? info[3].ToNumber().Int32Value() : -1);
    return info.Env().Undefined();
}

// samplingFailure(sequence) -> { code, message } of the output that got -1 instead of a token, or null.
Napi::Value Context::samplingFailure(const Napi::CallbackInfo & info) {
    idle();
    const auto & failure = samplers_->failure(sequenceArgument(info[0]));
    if (failure.code == nullptr) return info.Env().Null();
    auto result = Napi::Object::New(info.Env());
    result.Set("code", failure.code);
    result.Set("message", failure.message);
    return result;
}

Napi::Value Context::clearSampler(const Napi::CallbackInfo & info) {
    idle();
    samplers_->clear(sequenceArgument(info[0]));
    return info.Env().Undefined();
}

// moveSampler(from, to): what `to` had is gone, and `from` is left without one.
Napi::Value Context::moveSampler(const Napi::CallbackInfo & info) {
    idle();
    const llama_seq_id from = sequenceArgument(info[0]);
    samplers_->move(from, sequenceArgument(info[1]));
    return info.Env().Undefined();
}

// setAdapters(scales: number[]): of the model's LoRA adapters, for the steps from now on; 0 = without it.
Napi::Value Context::setAdapters(const Napi::CallbackInfo & info) {
    llama_context * context = idle();
    applyAdapters(context, model_->adapters(), parseScales(info[0], model_->adapters().size()));
    return info.Env().Undefined();
}
