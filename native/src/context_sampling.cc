// The part of Context that is about what a step samples, and with which samplers.
#include "context.h"

#include <span>
#include <stdexcept>

#include "instance_data.h"
#include "logits.h"
#include "prepared_sampler.h"
#include "settings.h"

namespace {

// With fewer logits in a step, waking other threads costs more than they save.
constexpr int64_t minParallelLogits = 1 << 18;

}  // namespace

// The logits' places are asked for here: llama.cpp may sort its outputs on the first question.
Context::StepResult Context::sampleOutputs(int32_t count) {
    std::vector<Output> outputs;
    for (int32_t i = 0; i < count; i++) {
        if (batch_->outputs[i] == 0) continue;
        float * logits = llama_get_logits_ith(handle_->get(), i);
        if (logits == nullptr) throw std::runtime_error("the step has no logits at a position");
        const llama_token target = batch_->outputs[i] == 2 ? batch_->targets[i] : LLAMA_TOKEN_NULL;
        outputs.push_back({ &sequences_[batch_->sequences[i]], logits, target, follows(i) ? batch_->tokens[i] : LLAMA_TOKEN_NULL });
    }
    sampleAll(outputs);
    StepResult result;
    result.outputs = static_cast<int32_t>(outputs.size());
    return result;
}

// A sequence's outputs stay together, in order, on one thread: each drafted token depends on the one before it.
void Context::sampleAll(const std::vector<Output> & outputs) {
    std::vector<int32_t> firsts;
    for (int32_t row = 0; row < static_cast<int32_t>(outputs.size()); row++) {
        if (outputs[row].draft == LLAMA_TOKEN_NULL) firsts.push_back(row);
    }
    const auto count = static_cast<int32_t>(firsts.size());
    firsts.push_back(outputs.size());
    const auto sample = [&](int32_t i) {
        for (int32_t row = firsts[i]; row < firsts[i + 1]; row++) batch_->sampled[row] = take(outputs[row], row);
    };
    const bool worthIt = count > 1 && int64_t{ count } * vocabSize_ >= minParallelLogits;
    if (worthIt && samplingPool_.threads() > 1) return samplingPool_.run(count, sample);
    for (int32_t i = 0; i < count; i++) sample(i);
}

// A drafted token counts only if it is the token sampled before it; if not, nothing is sampled after it, so that the sampler sees
// exactly the tokens it would have seen without a draft.
llama_token Context::take(const Output & output, int32_t row) {
    if (output.target != LLAMA_TOKEN_NULL) return scoreOne(output, row);
    if (output.draft != LLAMA_TOKEN_NULL && batch_->sampled[row - 1] != output.draft) return LLAMA_TOKEN_NULL;
    return sampleOne(output, row);
}

// -1: there is no token, and the sequence says why. A sequence's failure is not the step's.
llama_token Context::sampleOne(const Output & output, int32_t row) noexcept {
    Sequence & sequence = *output.sequence;
    const auto fail = [&](const char * code, const char * why) {
        sequence.failureCode = code;
        sequence.failure = why;
        return LLAMA_TOKEN_NULL;
    };
    try {
        if (sequence.failureCode != nullptr) return LLAMA_TOKEN_NULL;
        return sequence.logprobs < 0 ? sequence.sampler->sample(output.logits) : sampleWithLogprobs(output, row);
    } catch (const GrammarTooComplex & error) {
        return fail("GRAMMAR_TOO_COMPLEX", error.what());
    } catch (const GrammarDeadEnd & error) {
        return fail("GRAMMAR_DEAD_END", error.what());
    } catch (const std::exception & error) {
        return fail("SAMPLING_FAILED", error.what());
    } catch (...) {
        return fail("SAMPLING_FAILED", "a native exception of unknown type");
    }
}

llama_token Context::sampleWithLogprobs(const Output & output, int32_t row) {
    const float normaliser = writeTop(output.logits, output.sequence->logprobs, row);
    const llama_token token = output.sequence->sampler->sample(output.logits);
    writeOwn(output.logits, token, normaliser, row);
    return token;
}

llama_token Context::scoreOne(const Output & output, int32_t row) {
    writeOwn(output.logits, output.target, writeTop(output.logits, maxLogprobs, row), row);
    return output.target;
}

float Context::writeTop(const float * logits, int32_t count, int32_t row) {
    const size_t first = static_cast<size_t>(row) * (maxLogprobs + 1);
    std::vector<TokenLogprob> top;
    const float normaliser = topLogprobs(logits, vocabSize_, count, top);
    for (size_t i = 0; i < top.size(); i++) {
        batch_->topTokens[first + 1 + i] = top[i].token;
        batch_->logprobs[first + 1 + i] = top[i].logprob;
    }
    return normaliser;
}

void Context::writeOwn(const float * logits, llama_token token, float normaliser, int32_t row) {
    const size_t first = static_cast<size_t>(row) * (maxLogprobs + 1);
    batch_->topTokens[first] = token;
    batch_->logprobs[first] = logits[token] - normaliser;
}

// setSampler(sequence, settings or PreparedSampler, prompt: Int32Array, logprobs): logprobs < 0 = none, else how many per token.
Napi::Value Context::setSampler(const Napi::CallbackInfo & info) {
    idle();
    Sequence & sequence = sequences_[sequenceArgument(info[0])];
    const auto object = info[1].As<Napi::Object>();
    const auto prompt = info[2].As<Napi::Int32Array>();
    const bool prepared = object.InstanceOf(info.Env().GetInstanceData<InstanceData>()->preparedSamplerClass.Value());
    sequence.sampler = prepared ? PreparedSampler::Unwrap(object)->take()
                                : std::make_unique<Sampler>(model_->get(), parseSampling(object, vocabSize_));
    sequence.failureCode = nullptr;
    sequence.sampler->acceptPrompt(std::span(prompt.Data(), prompt.ElementLength()));
    sequence.logprobs = std::min(info[3].IsNumber() ? info[3].ToNumber().Int32Value() : -1, maxLogprobs);
    return info.Env().Undefined();
}

// samplingFailure(sequence) -> { code, message } of the output that got -1 instead of a token, or null.
Napi::Value Context::samplingFailure(const Napi::CallbackInfo & info) {
    idle();
    const Sequence & sequence = sequences_[sequenceArgument(info[0])];
    if (sequence.failureCode == nullptr) return info.Env().Null();
    auto result = Napi::Object::New(info.Env());
    result.Set("code", sequence.failureCode);
    result.Set("message", sequence.failure);
    return result;
}

Napi::Value Context::clearSampler(const Napi::CallbackInfo & info) {
    idle();
    sequences_[sequenceArgument(info[0])].sampler.reset();
    return info.Env().Undefined();
}
