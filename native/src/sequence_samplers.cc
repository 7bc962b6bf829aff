#include "sequence_samplers.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "logprob_row.h"

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

void SequenceSamplers::move(llama_seq_id from, llama_seq_id to) {
    if (from != to) sequences_[to] = std::exchange(sequences_[from], {});
}

void SequenceSamplers::clearAll() {
    for (auto & sequence : sequences_) sequence.sampler.reset();
}

// A sequence's outputs stay together, in order, on one thread: each drafted token depends on the one before it.
void SequenceSamplers::sample(const std::vector<Output> & outputs, BatchOutput & results) {
    std::vector<size_t> firsts;
    for (size_t row = 0; row < outputs.size(); row++) {
        if (outputs[row].draft == LLAMA_TOKEN_NULL) firsts.push_back(row);
    }
    const auto count = static_cast<int32_t>(firsts.size());
    firsts.push_back(outputs.size());
    const auto task = [&](int32_t i) {
        for (size_t row = firsts[i]; row < firsts[i + 1]; row++) results.sampled[row] = take(outputs[row], row, results);
    };
    const bool parallel = count > 1 && pool_.threads() > 1 && int64_t{ count } * vocabSize_ >= minParallelLogits;
    if (parallel) return pool_.run(count, task);
    for (int32_t i = 0; i < count; i++) task(i);
}

// After a guess that was wrong nothing is sampled, so that the sampler sees exactly the tokens it would have seen without guesses.
llama_token SequenceSamplers::take(const Output & output, size_t row, BatchOutput & results) {
    if (output.target != LLAMA_TOKEN_NULL) return score(output, row, results);
    if (output.draft != LLAMA_TOKEN_NULL && results.sampled[row - 1] != output.draft) return LLAMA_TOKEN_NULL;
    return sampleOne(output, row, results);
}

llama_token SequenceSamplers::sampleOne(const Output & output, size_t row, BatchOutput & results) noexcept {
    Sequence & sequence = sequences_[output.sequence];
    const auto fail = [&](const char * code, const char * why) {
        sequence.failure = { code, why };
        return LLAMA_TOKEN_NULL;
    };
    try {
        if (sequence.failure.code != nullptr) return LLAMA_TOKEN_NULL;
        return sequence.logprobs < 0 ? sequence.sampler->sample(output.logits) : sampleWithLogprobs(output, row, results);
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

llama_token SequenceSamplers::sampleWithLogprobs(const Output & output, size_t row, BatchOutput & results) {
    const Sequence & sequence = sequences_[output.sequence];
    LogprobRow logprobs(results, row, output.logits, vocabSize_, sequence.logprobs);
    const llama_token token = sequence.sampler->sample(output.logits);
    logprobs.setToken(token, output.logits[token]);
    return token;
}

llama_token SequenceSamplers::score(const Output & output, size_t row, BatchOutput & results) {
    LogprobRow(results, row, output.logits, vocabSize_, maxLogprobs).setToken(output.target, output.logits[output.target]);
    return output.target;
}
