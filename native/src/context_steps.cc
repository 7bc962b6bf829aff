// The part of Context that is about steps: takes a batch, decodes it, samples, and goes on with what was sampled where it may.
#include "context.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>

#include "arguments.h"

namespace {

constexpr llama_pos maxPosition = std::numeric_limits<llama_pos>::max();

}  // namespace

// Copies what JavaScript has written, and could change meanwhile, and checks it. llama_decode itself checks that positions continue
// each sequence; what it takes on trust is checked here.
void Context::takeBatch(int32_t count) {
    if (count < 1 || count > static_cast<int32_t>(batch_->tokens.size())) throw std::out_of_range("a step takes 1 to n_batch tokens");
    step_.copyFrom(*batch_, count);
    std::vector<bool> hasOutput(samplers_->size());
    std::vector<bool> seen(samplers_->size());
    size_t outputs = 0;
    count_ = count;
    repeatable_ = true;
    for (int32_t i = 0; i < count; i++) {
        const llama_seq_id sequence = step_.sequences[i];
        if (step_.tokens[i] < 0 || step_.tokens[i] >= vocabSize_) throw std::out_of_range("token outside the vocabulary");
        if (sequence < 0 || sequence >= samplers_->size()) throw std::out_of_range("sequence outside the context");
        if (step_.positions[i] < 0) throw std::out_of_range("negative position");
        if (seen[sequence] || step_.outputs[i] == 2) repeatable_ = false;
        seen[sequence] = true;
        if (step_.outputs[i] == 0) continue;
        if (++outputs > batch_->rows()) throw std::out_of_range("more outputs than the context was made for");
        if (step_.outputs[i] == 2) {
            if (step_.targets[i] < 0 || step_.targets[i] >= vocabSize_) throw std::out_of_range("target outside the vocabulary");
            continue;
        }
        if (!samplers_->has(sequence)) throw std::logic_error("output without a sampler");
        if (hasOutput[sequence] && !step_.isDraft(i)) throw std::logic_error("outputs of a sequence that do not follow each other");
        hasOutput[sequence] = true;
    }
}

// step(count, ahead) -> Promise<number of outputs>: each has a sampled token, the target it was scored for, or -1 (batch_buffers.h).
// Rejects with an Error whose code is NO_KV_SLOT, ABORTED or STEP_FAILED. ahead: the step after it may begin at once (next()).
Napi::Value Context::step(const Napi::CallbackInfo & info) {
    idle();
    const double asked = numberArgument(info[0]);
    const int32_t count = asked >= 1 && asked <= batch_->tokens.size() ? static_cast<int32_t>(asked) : 0;
    takeBatch(count);
    return submit(info.Env(), [this, count] { return runStep(count); }, info[1].ToBoolean());
}

// runsAhead() -> boolean: the step after the last settled one runs already, or has run. It must be asked for with next().
Napi::Value Context::runsAhead(const Napi::CallbackInfo & info) { return Napi::Boolean::New(info.Env(), ahead_); }

// next(ahead): the promise of the step that runs ahead, as step() gives it. Its batch is the one before with every sampled token in
// the place of the token it was sampled after, and all positions one further.
Napi::Value Context::next(const Napi::CallbackInfo & info) {
    if (running_ || !ahead_) throw std::logic_error("no step runs ahead");
    const auto promise = (running_ = Napi::Promise::Deferred::New(info.Env()))->Promise();
    allowAhead(info[0].ToBoolean());
    if (const auto early = std::move(early_)) settle(info.Env(), *early);
    return promise;
}

// hold(): no further step begins by itself. A running one is not touched.
Napi::Value Context::hold(const Napi::CallbackInfo & info) {
    allowAhead(false);
    return info.Env().Undefined();
}

// stepMs() -> how long the last settled step took, in milliseconds.
Napi::Value Context::stepMs(const Napi::CallbackInfo & info) { return Napi::Number::New(info.Env(), stepMs_); }

void Context::allowAhead(bool allowed) {
    const std::lock_guard lock(mutex_);
    goOn_ = allowed;
}

// On the context's thread, after each task: whether another step follows without having been submitted; prepares that. An answer
// that ended, or failed, is JavaScript's to deal with first.
bool Context::goesOn(StepResult & result) {
    if (result.output == nullptr || !repeatable_) return false;
    const auto & sampled = result.output->sampled;
    for (int32_t i = 0; i < result.outputs; i++) {
        if (sampled[i] == LLAMA_TOKEN_NULL || llama_vocab_is_eog(model_->vocab(), sampled[i])) return false;
    }
    if (std::any_of(step_.positions.begin(), step_.positions.begin() + count_, [](llama_pos p) { return p == maxPosition; })) return false;
    {
        const std::lock_guard lock(mutex_);
        if (!goOn_ || stopping_) return false;
        goOn_ = false;
    }
    for (int32_t i = 0, output = 0; i < count_; i++) {
        step_.positions[i]++;
        if (step_.outputs[i] == 1) step_.tokens[i] = sampled[output++];
    }
    return result.goesOn = true;
}

Context::StepResult Context::runStep(int32_t count) {
    llama_batch batch{ count, step_.tokens.data(), nullptr, step_.positions.data(), sequenceCounts_.data(),
                       sequencePointers_.data(), step_.outputs.data() };
    const auto began = std::chrono::steady_clock::now();
    const int32_t status = llama_decode(handle_->get(), batch);
    switch (status) {
        case 0: {
            auto result = sampleOutputs(count);
            result.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
            return result;
        }
        case 1: return failed("NO_KV_SLOT", "no room in the KV cache for this step");
        case 2: return failed("ABORTED", "the step was aborted");
        default: return failed("STEP_FAILED", "llama_decode failed with status " + std::to_string(status));
    }
}

// The logits' places are asked for here: llama.cpp may sort its outputs on the first question.
Context::StepResult Context::sampleOutputs(int32_t count) {
    std::vector<SequenceSamplers::Output> outputs;
    for (int32_t i = 0; i < count; i++) {
        if (step_.outputs[i] == 0) continue;
        float * logits = llama_get_logits_ith(handle_->get(), i);
        if (logits == nullptr) throw std::runtime_error("the step has no logits at a position");
        const llama_token target = step_.outputs[i] == 2 ? step_.targets[i] : LLAMA_TOKEN_NULL;
        outputs.push_back({ step_.sequences[i], logits, target, step_.isDraft(i) ? step_.tokens[i] : LLAMA_TOKEN_NULL });
    }
    // The one before may not have been handed to JavaScript yet.
    output_ = 1 - output_;
    samplers_->sample(outputs, outputs_[output_]);
    StepResult result;
    result.output = &outputs_[output_];
    result.outputs = static_cast<int32_t>(outputs.size());
    return result;
}
