// Follows a grammar along a text: which tokens may come next, and what one of them leads to. Gives llama.cpp's verdicts with a
// bound on the work, which llama.cpp's own code lacks: an ambiguous grammar has exponentially many readings.
#pragma once

#include <memory>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar_rules.h"
#include "token_texts.h"

// The grammar would take too long.
class GrammarTooComplex : public std::runtime_error {
  public:
    GrammarTooComplex() : std::runtime_error("too many readings of one text are possible at once") {}
};

// A reading of the text so far is a stack of what is still to come. Equal stacks are one node, and what a stack may begin with is
// found out once, so that following a character costs one look per reading. Not for use by two threads at once.
class GrammarMatcher {
  public:
    // All members but complete() throw GrammarTooComplex.
    GrammarMatcher(std::shared_ptr<const GrammarRules> rules, std::shared_ptr<const TokenTexts> texts);

    // Grants the work of one more token.
    void startToken();
    // The text may end here.
    bool complete() const;
    bool allows(llama_token token);
    // Sets allowed[token] for every token of the vocabulary.
    void findAllowed(std::vector<char> & allowed);
    // False: not allowed, and nothing has changed. `text`: the token's, or the end of it.
    bool accept(llama_token token, std::string_view text);

  private:
    using Stack = uint32_t;  // an index of nodes_; 0 = nothing more to come
    struct Node {
        uint32_t symbol;
        Stack rest;
    };
    // All readings, between two bytes.
    struct Position {
        std::vector<Stack> stacks;  // none twice; each is empty or begins with a terminal
        uint32_t value = 0;         // of a character of which `remaining` bytes are missing
        int remaining = 0;
    };

    void spend(size_t work);
    Stack push(uint32_t symbol, Stack rest);
    bool beginsWithRule(Stack stack) const;
    const std::vector<Stack> & expand(Stack stack);
    void add(Stack stack, std::vector<Stack> & stacks);
    bool step(const Position & from, uint8_t byte, Position & to);
    void advance(const std::vector<Stack> & from, uint32_t codePoint, std::vector<Stack> & to);
    // Moves along a text; false: no reading is left.
    bool follow(std::string_view text, Position & position);
    bool mayEnd(const Position & position) const;
    // Calls visit(stack) for every reading that goes on with this very token.
    template <typename Visit> void forTokenSymbols(llama_token token, Visit visit);
    void compact();

    std::shared_ptr<const GrammarRules> rules_;
    std::shared_ptr<const TokenTexts> texts_;
    size_t work_;  // that may still be done
    std::vector<Node> nodes_;
    std::unordered_map<uint64_t, Stack> index_;
    std::unordered_map<Stack, std::vector<Stack>> expansions_;
    std::vector<uint64_t> marks_;  // by node: the last round of advance() that added it
    uint64_t round_ = 0;
    Position current_;
    std::vector<Position> levels_;  // of findAllowed(): after each byte of a token
};
