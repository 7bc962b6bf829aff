// Every token's bytes, and the tokens in the order of their bytes, so that a walk over all of them sees common beginnings once.
// Made once per model, read by many threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llama.h"

class TokenTexts {
  public:
    struct Entry {
        llama_token token;
        uint32_t shared;  // leading bytes that are those of the entry before
    };

    explicit TokenTexts(const llama_vocab * vocab);

    size_t size() const { return ends_.size(); }
    size_t longest() const { return longest_; }
    // Up to the first NUL; empty for tokens without text.
    std::string_view text(llama_token token) const {
        return std::string_view(bytes_).substr(offsets_[token], offsets_[token + 1] - offsets_[token]);
    }
    bool endsGeneration(llama_token token) const { return ends_[token]; }
    // Those with a text that do not end the generation.
    const std::vector<Entry> & sorted() const { return sorted_; }

  private:
    std::string bytes_;
    std::vector<uint32_t> offsets_;
    std::vector<bool> ends_;
    std::vector<Entry> sorted_;
    size_t longest_ = 0;
};
