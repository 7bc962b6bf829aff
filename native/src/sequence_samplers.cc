#include "sequence_samplers.h"

#include <algorithm>
#include <exception>

#include "logits.h"

namespace {

// With fewer logits in a step, waking other threads costs more than they save.
constexpr int64_t minParallelLogits = 1 << 18;

}  // namespace

SequenceSamplers::SequenceSamplers(int32_t sequences, int32_t threads, int32_t vocabSize) :
    sequences_(sequences), vocabSize_(vocabSize), pool_(std::min(threads, sequences)) {}

void SequenceSamplers::set(llama_seq_id sequence, std::unique_ptr<Sampler> sampler, int32_t logprobs) {
    sequences_[sequence].sampler = std::move(sampler);
    sequences_[sequence].logprobs = std::min(logprobs, maxLogprobs);
    sequences_[sequence].failure = {};
}

void SequenceSamplers::clearAll() {
    for (auto & sequence : sequences_) sequence.sampler.reset();
}

void SequenceSamplers::sample(const std::vector<Output> & outputs, BatchBuffers & results) {
    const auto task = [&](int32_t row) { results.sampled[row] = takeOne(outputs[row], row, results); };
    const auto count = static_cast<int32_t>(outputs.size());
    const bool parallel = count > 1 && pool_.threads() > 1 && int64_t{ count } * vocabSize_ >= minParallelLogits;
    if (parallel) return pool_.run(count, task);
    for (int32_t row = 0; row < count; row++) task(row);
}

llama_token SequenceSamplers::takeOne(const Output & output, size_t row, BatchBuffers & results) noexcept {
    Sequence & sequence = sequences_[output.sequence];
    const auto fail = [&](const char * code, const char * why) {
        sequence.failure = { code, why };
        return LLAMA_TOKEN_NULL;
    };
    try {
        return sequence.failure.code == nullptr ? sampleOrScore(output, row, results) : LLAMA_TOKEN_NULL;
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

llama_token SequenceSamplers::sampleOrScore(const Output & output, size_t row, BatchBuffers & results) {
    const Sequence & sequence = sequences_[output.sequence];
    const bool scored = output.target != LLAMA_TOKEN_NULL;
    if (!scored && sequence.logprobs < 0) return sequence.sampler->sample(output.logits);
    const size_t first = row * (maxLogprobs + 1);
    std::vector<TokenLogprob> top;
    const float normaliser = topLogprobs(output.logits, vocabSize_, scored ? maxLogprobs : sequence.logprobs, top);
    for (size_t i = 0; i < top.size(); i++) {
        results.topTokens[first + 1 + i] = top[i].token;
        results.logprobs[first + 1 + i] = top[i].logprob;
    }
    const llama_token token = scored ? output.target : sequence.sampler->sample(output.logits);
    results.topTokens[first] = token;
    results.logprobs[first] = output.logits[token] - normaliser;
    return token;
}
