#include "sequence_state.h"

#include <stdexcept>

namespace {

llama_state_seq_flags flagsFor(bool partial) { return partial ? LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY : LLAMA_STATE_SEQ_FLAGS_NONE; }

}  // namespace

std::optional<std::vector<uint8_t>> takeState(llama_context * context, llama_seq_id sequence, bool partial, double maxBytes) {
    const size_t size = llama_state_seq_get_size_ext(context, sequence, flagsFor(partial));
    if (size > maxBytes) return std::nullopt;
    std::vector<uint8_t> bytes(size);
    const size_t written = llama_state_seq_get_data_ext(context, bytes.data(), bytes.size(), sequence, flagsFor(partial));
    if (written == 0 || written != bytes.size()) throw std::runtime_error("llama.cpp could not write the sequence's state");
    return bytes;
}

bool putState(llama_context * context, llama_seq_id sequence, std::span<const uint8_t> bytes, bool partial) {
    if (bytes.empty()) return false;
    return llama_state_seq_set_data_ext(context, bytes.data(), bytes.size(), sequence, flagsFor(partial)) == bytes.size();
}
