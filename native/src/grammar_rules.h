// A grammar in GBNF as rules that a matcher can follow: parsed by llama.cpp's own parser, checked for what neither survives.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "llama.h"

struct GrammarRules {
    enum class Kind : uint8_t { end, rule, characters, token, anyTokenBut };
    struct Symbol {
        Kind kind;
        uint32_t value;  // an index of `rules` or of `characters`, or a token
    };
    // A set of code points; inverse: all others.
    struct Characters {
        bool inverse = false;
        std::vector<std::pair<uint32_t, uint32_t>> ranges;  // both ends included
        std::array<bool, 128> ascii{};                      // what matches() says of these

        bool matches(uint32_t codePoint) const;
        // Whether a code point of which `remaining` more bytes are to come may match, as llama.cpp decides it.
        bool mayMatch(uint32_t value, int remaining) const;
        bool inRanges(uint32_t from, uint32_t to) const;
    };

    std::vector<Symbol> symbols;               // all alternatives, one after the other, each closed by an `end`
    std::vector<std::vector<uint32_t>> rules;  // where in `symbols` the alternatives of each rule begin
    std::vector<Characters> characters;
    uint32_t root = 0;
};

// Throws std::invalid_argument: the parser's own message with the line and the beginning of what stands there, or why the grammar
// cannot be used. `vocab` knows the tokens that a grammar may name.
GrammarRules parseGrammar(const llama_vocab * vocab, const std::string & source);
