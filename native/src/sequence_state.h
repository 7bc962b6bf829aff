// What one sequence holds in a context's memory, as bytes: taken out and put back. No JavaScript here; runs on the step thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "llama.h"

// partial: only what cannot be cut back to an earlier length (a sliding window's cells, a recurrent state); the rest stays in the
// sequence. Nothing when it would be larger than maxBytes. Throws std::runtime_error when llama.cpp cannot write it.
std::optional<std::vector<uint8_t>> takeState(llama_context * context, llama_seq_id sequence, bool partial, double maxBytes);

// Replaces what the sequence holds, or that part of it. False when the bytes are not a state of such a context: the sequence is to be
// emptied then. llama.cpp checks sizes and types, not contents: only bytes of takeState() may come here, unchanged.
bool putState(llama_context * context, llama_seq_id sequence, std::span<const uint8_t> bytes, bool partial);
