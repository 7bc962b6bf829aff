// Texts -> tokens, exactly as llama.cpp makes them, in time that grows with a text's length alone: llama.cpp's own walks over all
// special tokens before it for every further one, so that a text of nothing but such takes minutes per megabyte.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llama.h"

class Tokenizer {
  public:
    explicit Tokenizer(const llama_vocab * vocab) : vocab_(vocab) {}

    // As common_tokenize(). From any thread.
    std::vector<llama_token> tokenize(const std::string & text, bool addSpecial, bool parseSpecial) const;

  private:
    struct Marks {
        // Texts of special tokens behind which a text may be cut: nothing special can overlap them, and nothing is stripped behind
        // them. True: of tokens that are also looked for where control tokens are not.
        std::unordered_map<std::string, bool> texts;
        std::vector<size_t> lengths;
        bool begins[256] = {};
    };

    const Marks & marks() const;
    void findMarks() const;
    std::vector<size_t> cuts(const std::string & text, bool parseSpecial) const;
    size_t markAt(std::string_view text, size_t at, bool parseSpecial) const;

    const llama_vocab * vocab_;
    mutable std::once_flag found_;
    mutable Marks marks_;
};
