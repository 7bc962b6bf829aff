#include "sequence_state.h"

#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace {

llama_state_seq_flags flagsFor(bool partial) { return partial ? LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY : LLAMA_STATE_SEQ_FLAGS_NONE; }

// Comes before llama.cpp's bytes.
struct Seal {
    uint64_t checksum;  // of the seal behind this field, and of llama.cpp's bytes
    uint64_t model;
    uint32_t partial;
    int32_t end;  // last position of the sequence
    uint64_t bytes;
};
static_assert(sizeof(Seal) == 32);

constexpr uint64_t odd = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio

uint64_t mix(uint64_t sum, uint64_t word) { return std::rotl((sum ^ word) * odd, 29); }

// Four sums side by side, because a multiplication takes longer than it keeps others waiting. For a given sum a step gives a result of
// its own to every word, and for a given word to every sum: bytes that differ in one word never have the same checksum.
uint64_t checksum(std::span<const uint8_t> bytes) {
    std::array<uint64_t, 4> sums{ 1, 2, 3, 4 };
    std::array<uint64_t, 4> words;
    while (bytes.size() >= sizeof(words)) {
        std::memcpy(words.data(), bytes.data(), sizeof(words));
        for (size_t i = 0; i < sums.size(); i++) sums[i] = mix(sums[i], words[i]);
        bytes = bytes.subspan(sizeof(words));
    }
    words = {};
    if (!bytes.empty()) std::memcpy(words.data(), bytes.data(), bytes.size());
    uint64_t result = bytes.size();
    for (size_t i = 0; i < sums.size(); i++) result = mix(result, mix(sums[i], words[i]));
    return result ^ (result >> 32);
}

// Tells models of another shape apart. Two of the same shape can read each other's states, though they mean nothing to them.
uint64_t identify(const llama_model * model) {
    std::array<char, 128> description{};
    llama_model_desc(model, description.data(), description.size());
    const std::array<uint64_t, 7> figures{
        llama_model_n_params(model),
        llama_model_size(model),
        static_cast<uint64_t>(llama_model_n_layer(model)),
        static_cast<uint64_t>(llama_model_n_embd(model)),
        static_cast<uint64_t>(llama_model_n_head_kv(model)),
        static_cast<uint64_t>(llama_model_n_swa(model)),
        static_cast<uint64_t>(llama_vocab_n_tokens(llama_model_get_vocab(model))),
    };
    const auto bytesOf = [](const auto & values) { return std::span(reinterpret_cast<const uint8_t *>(values.data()), sizeof(values)); };
    return mix(checksum(bytesOf(description)), checksum(bytesOf(figures)));
}

uint64_t checksumOf(std::span<const uint8_t> sealed) { return checksum(sealed.subspan(sizeof(Seal::checksum))); }

bool isIntact(std::span<const uint8_t> sealed, const Seal & seal) {
    return seal.bytes == sealed.size() - sizeof(Seal) && seal.checksum == checksumOf(sealed);
}

}  // namespace

std::optional<std::vector<uint8_t>> takeState(llama_context * context, llama_seq_id sequence, bool partial, double maxBytes) {
    const size_t size = llama_state_seq_get_size_ext(context, sequence, flagsFor(partial));
    if (sizeof(Seal) + size > maxBytes) return std::nullopt;
    std::vector<uint8_t> sealed(sizeof(Seal) + size);
    const std::span<uint8_t> bytes = std::span(sealed).subspan(sizeof(Seal));
    const size_t written = llama_state_seq_get_data_ext(context, bytes.data(), bytes.size(), sequence, flagsFor(partial));
    if (written == 0 || written != bytes.size()) throw std::runtime_error("llama.cpp could not write the sequence's state");
    const llama_pos end = llama_memory_seq_pos_max(llama_get_memory(context), sequence);
    Seal seal{ 0, identify(llama_get_model(context)), partial, end, size };
    std::memcpy(sealed.data(), &seal, sizeof(seal));
    seal.checksum = checksumOf(sealed);
    std::memcpy(sealed.data(), &seal, sizeof(seal));
    return sealed;
}

bool putState(llama_context * context, llama_seq_id sequence, std::span<const uint8_t> sealed, bool partial) {
    Seal seal;
    if (sealed.size() < sizeof(seal)) return false;
    std::memcpy(&seal, sealed.data(), sizeof(seal));
    if (seal.model != identify(llama_get_model(context)) || seal.partial != partial || !isIntact(sealed, seal)) return false;
    if (partial && llama_memory_seq_pos_max(llama_get_memory(context), sequence) < seal.end) return false;
    const auto bytes = sealed.subspan(sizeof(seal));
    return llama_state_seq_set_data_ext(context, bytes.data(), bytes.size(), sequence, flagsFor(partial)) == bytes.size();
}
