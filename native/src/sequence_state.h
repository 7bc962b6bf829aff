// What one sequence holds in a context's memory, as bytes: taken out and put back. No JavaScript here; runs on the step thread.
// llama.cpp checks sizes and types of what it is given and trusts the rest: a wrong count or position would end the process. So a
// state carries a seal (whose model it is of, what part of a sequence, a checksum), and only a state as it was taken is put back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "llama.h"

// partial: only what cannot be cut back to an earlier length (a sliding window's cells, a recurrent state); the rest stays in the
// sequence. Nothing when it would be larger than maxBytes. Throws std::runtime_error when llama.cpp cannot write it.
std::optional<std::vector<uint8_t>> takeState(llama_context * context, llama_seq_id sequence, bool partial, double maxBytes);

// Replaces what the sequence holds, or that part of it. False when the bytes are not a state of this model as it was taken, when the
// context has no room for it, or when it is a part of more than the sequence holds: the sequence is to be emptied then.
bool putState(llama_context * context, llama_seq_id sequence, std::span<const uint8_t> bytes, bool partial);
