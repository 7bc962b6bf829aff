#include "drafter.h"

#include <stdexcept>

namespace {

common_speculative * createSpeculative(llama_context * context, int32_t mostGuesses, float leastProbability) {
    common_params_speculative params;
    params.types = { COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE };
    params.draft.n_max = mostGuesses;
    params.draft.p_min = leastProbability;
    params.draft.ctx_dft = context;
    // The served model's context is only asked for its vocabulary, which engine/load-speculation.ts has compared, and by name. This
    // way neither context has to outlive the other.
    params.draft.ctx_tgt = context;
    return common_speculative_init(params, llama_n_seq_max(context));
}

// A batch owns its arrays.
struct Batch {
    explicit Batch(size_t tokens) : batch(llama_batch_init(static_cast<int32_t>(tokens), 0, 1)) {}
    ~Batch() { llama_batch_free(batch); }
    Batch(const Batch &) = delete;
    Batch & operator=(const Batch &) = delete;
    llama_batch batch;
};

}  // namespace

Drafter::Drafter(llama_model * model, const llama_context_params & params, int32_t mostGuesses, float leastProbability) :
    mostGuesses_(mostGuesses),
    vocabSize_(llama_vocab_n_tokens(llama_model_get_vocab(model))),
    handle_(std::in_place, model, params),
    speculative_(createSpeculative(handle_->get(), mostGuesses, leastProbability)) {}

void Drafter::expectRequests(const std::vector<Request> & requests) const {
    size_t tokens = 0;
    for (size_t i = 0; i < requests.size(); i++) {
        expectRequest(requests[i]);
        if (i > 0 && requests[i].sequence <= requests[i - 1].sequence) throw std::out_of_range("sequences are in order, each once");
        tokens += requests[i].read.size();
    }
    if (requests.empty()) throw std::out_of_range("nothing is asked for");
    if (tokens > llama_n_batch(context())) throw std::out_of_range("more tokens than one batch takes");
}

void Drafter::expectRequest(const Request & request) const {
    if (request.sequence < 0 || request.sequence >= static_cast<int64_t>(llama_n_seq_max(context()))) {
        throw std::out_of_range("no such sequence");
    }
    if (request.keep < 0) throw std::out_of_range("a length is 0 or more");
    if (request.most < 0 || request.most > mostGuesses_) {
        throw std::out_of_range("guesses are 0 to " + std::to_string(mostGuesses_));
    }
    const auto inside = [this](llama_token token) { return token >= 0 && token < vocabSize_; };
    for (const llama_token token : request.read) {
        if (!inside(token)) throw std::out_of_range("token outside the vocabulary");
    }
    if (!inside(request.last)) throw std::out_of_range("token outside the vocabulary");
    const int64_t end = static_cast<int64_t>(request.keep) + request.read.size() + 1 + request.most;
    if (end > llama_n_ctx_seq(context())) throw std::out_of_range("a text beyond the context");
}

std::vector<Drafter::Draft> Drafter::draft(const std::vector<Request> & requests) {
    const std::lock_guard lock(mutex_);
    if (!handle_) throw std::runtime_error("the context has been disposed");
    for (const Request & request : requests) {
        llama_memory_seq_rm(llama_get_memory(context()), request.sequence, request.keep, -1);
        if (held(request.sequence) != request.keep) throw std::runtime_error("a sequence holds less than is to be kept of it");
    }
    read(requests);
    std::vector<Draft> drafts(requests.size());
    guess(requests, drafts);
    for (size_t i = 0; i < requests.size(); i++) drafts[i].length = decodedLength(requests[i], drafts[i]);
    return drafts;
}

void Drafter::guess(const std::vector<Request> & requests, std::vector<Draft> & drafts) {
    // Should the last call have thrown, it has left its own.
    for (uint32_t i = 0; i < llama_n_seq_max(context()); i++) {
        common_speculative_get_draft_params(speculative_.get(), static_cast<llama_seq_id>(i)).drafting = false;
    }
    const llama_tokens unused;  // only n-gram lookups read the text itself
    for (size_t i = 0; i < requests.size(); i++) {
        const Request & request = requests[i];
        if (request.most == 0) continue;
        auto & params = common_speculative_get_draft_params(speculative_.get(), request.sequence);
        params.drafting = true;
        params.n_max = request.most;
        params.pos0 = request.keep + static_cast<llama_pos>(request.read.size());
        params.id_last = request.last;
        params.prompt = &unused;
        params.result = &drafts[i].guesses;
    }
    common_speculative_draft(speculative_.get());
}

// What fails while guesses are made is only logged by llama.cpp: it shows in what the sequence holds, which is all but a last guess
// that nothing was to follow.
llama_pos Drafter::decodedLength(const Request & request, const Draft & draft) const {
    const auto guesses = static_cast<llama_pos>(draft.guesses.size());
    const llama_pos decoded = request.most == 0 ? 0 : guesses == request.most ? guesses : guesses + 1;
    const auto length = request.keep + static_cast<llama_pos>(request.read.size()) + decoded;
    if (held(request.sequence) != length) throw std::runtime_error("llama_decode failed for a draft");
    return length;
}

// In the order of the sequences: with a KV stream each they share a compute pass only then.
void Drafter::read(const std::vector<Request> & requests) {
    size_t count = 0;
    for (const Request & request : requests) count += request.read.size();
    if (count == 0) return;
    Batch read(count);
    for (const Request & request : requests) {
        llama_pos position = request.keep;
        for (const llama_token token : request.read) common_batch_add(read.batch, token, position++, { request.sequence }, false);
    }
    if (!common_speculative_process(speculative_.get(), read.batch)) throw std::runtime_error("llama_decode failed for a text");
}

llama_pos Drafter::held(llama_seq_id sequence) const {
    return llama_memory_seq_pos_max(llama_get_memory(context()), sequence) + 1;
}

void Drafter::close() {
    handle_->abort = true;
    const std::lock_guard lock(mutex_);
    speculative_.reset();
    handle_.reset();
}
