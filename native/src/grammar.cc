#include "grammar.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace {

// A pattern is looked for in the last bytes of the text: std::regex calls itself for every character that it repeats.
constexpr size_t maxSearched = 4096;

llama_grammar_trigger_pattern compilePattern(const std::string & pattern) {
    return { pattern, std::regex(pattern) };
}

// Anchored at both ends, as llama.cpp anchors it.
std::string wholeText(const std::string & pattern) {
    if (pattern.empty()) return "^$";
    return (pattern.front() == '^' ? "" : "^") + pattern + (pattern.back() == '$' ? "" : "$");
}

}  // namespace

std::vector<llama_token> tokenizeBeginning(const llama_vocab * vocab, const std::string & generationPrompt) {
    if (generationPrompt.empty()) return {};
    auto tokens = common_tokenize(vocab, generationPrompt, false, true);
    const auto isSpace = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    // Some tokenisers add a space before the first special token.
    const std::string first = tokens.empty() ? "" : common_token_to_piece(vocab, tokens.front(), true);
    if (!first.empty() && isSpace(first.front()) && !isSpace(generationPrompt.front())) tokens.erase(tokens.begin());
    return tokens;
}

Grammar::Grammar(const llama_vocab * vocab, const common_params_sampling & params, std::shared_ptr<const TokenTexts> texts) :
    texts_(texts),
    matcher_(std::make_shared<const GrammarRules>(parseGrammar(vocab, common_grammar_value(params.grammar))), std::move(texts)),
    waiting_(params.grammar_lazy) {
    for (const auto & trigger : params.grammar_triggers) {
        switch (trigger.type) {
            case COMMON_GRAMMAR_TRIGGER_TYPE_WORD: words_.push_back(trigger.value); break;
            case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN: tokens_.push_back(trigger.token); break;
            case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN: patterns_.push_back(compilePattern(trigger.value)); break;
            default: patterns_.push_back(compilePattern(wholeText(trigger.value)));
        }
    }
    // A grammar of the template's describes the whole answer, also what stands in the prompt.
    if (waiting_ || !common_grammar_needs_prefill(params.grammar)) return;
    for (const llama_token token : tokenizeBeginning(vocab, params.generation_prompt)) accept(token);
}

void Grammar::accept(llama_token token) {
    if (waiting_) return lookForTrigger(token);
    if (!matcher_.accept(token, texts_->text(token))) throw std::logic_error("the grammar does not allow this token");
}

void Grammar::lookForTrigger(llama_token token) {
    matcher_.startToken();
    if (std::find(tokens_.begin(), tokens_.end(), token) != tokens_.end() && matcher_.accept(token, texts_->text(token))) {
        waiting_ = false;
        return;
    }
    const size_t previous = text_.size();
    text_ += texts_->text(token);
    pieces_.push_back({ token, text_.size() });
    const size_t start = findTrigger(previous);
    if (start == std::string::npos) return;
    waiting_ = !replay(start);
    text_.clear();
    pieces_.clear();
}

// Where in text_ the grammar begins; npos: nowhere yet. `previous`: the length of text_ that was looked at before.
size_t Grammar::findTrigger(size_t previous) const {
    for (const auto & word : words_) {
        const size_t found = text_.find(word, previous - std::min(previous, word.size()));
        if (found != std::string::npos) return found;
    }
    const size_t skipped = text_.size() - std::min(text_.size(), maxSearched);
    const std::string end = text_.substr(skipped);
    for (const auto & pattern : patterns_) {
        if (skipped > 0 && pattern.pattern.starts_with('^')) continue;
        const size_t found = pattern.find(end);
        if (found != std::string::npos) return skipped + found;
    }
    return std::string::npos;
}

// False: what follows the trigger is not of the grammar, so this was none; the text stays as free as before.
bool Grammar::replay(size_t start) {
    GrammarMatcher beginning = matcher_;
    size_t from = 0;
    for (const auto & piece : pieces_) {
        const size_t begin = std::max(from, start);
        from = piece.end;
        if (piece.end <= start) continue;
        if (!beginning.accept(piece.token, std::string_view(text_).substr(begin, piece.end - begin))) return false;
    }
    matcher_ = std::move(beginning);
    return true;
}
