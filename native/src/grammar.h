// What restricts one answer's text: a grammar from its first token on, or, for tools, from the moment the text shows one of its
// triggers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common.h"
#include "grammar_matcher.h"
#include "llama-grammar.h"

class Grammar {
  public:
    // Throws std::invalid_argument with the parser's own message, or GrammarTooComplex.
    Grammar(const llama_vocab * vocab, const common_params_sampling & params, std::shared_ptr<const TokenTexts> texts);

    // False: nothing is restricted until a trigger is seen.
    bool restricts() const { return !waiting_; }
    // The text may end here.
    bool complete() const { return waiting_ || matcher_.complete(); }
    GrammarMatcher & matcher() { return matcher_; }
    // A token of the answer. Throws std::logic_error when the grammar restricts and does not allow it, or GrammarTooComplex.
    void accept(llama_token token);

  private:
    void lookForTrigger(llama_token token);
    size_t findTrigger(size_t previous) const;
    bool replay(size_t start);

    std::shared_ptr<const TokenTexts> texts_;
    GrammarMatcher matcher_;
    bool waiting_;
    std::vector<std::string> words_;
    std::vector<llama_grammar_trigger_pattern> patterns_;
    std::vector<llama_token> tokens_;
    std::string text_;  // of the answer so far, while waiting
    struct Piece {
        llama_token token;
        size_t end;  // in text_
    };
    std::vector<Piece> pieces_;
};

// The tokens of the answer's beginning that the chat template has already put into the prompt.
std::vector<llama_token> tokenizeBeginning(const llama_vocab * vocab, const std::string & generationPrompt);
