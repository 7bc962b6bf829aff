#include "grammar_matcher.h"

#include <algorithm>
#include <unordered_set>

namespace {

// Work is counted in looks at a reading, of a few nanoseconds each. Ordinary grammars take some thousands for a token, and some
// millions where every token of a large vocabulary is asked. A token may take what those before it have left, up to the most:
// less than half a second once, some ten milliseconds in the long run.
constexpr size_t mostWork = 100'000'000;
constexpr size_t workPerToken = 10'000'000;
constexpr size_t workPerExpansion = 300;
// Nodes kept beyond those in use, and in all.
constexpr size_t sparedNodes = 1 << 15;
constexpr size_t maxNodes = 1 << 18;

// Bytes of the character that a byte of UTF-8 begins; 0 = none does.
int characterLength(uint8_t first) {
    if (first < 0x80) return 1;
    return first >> 5 == 0x06 ? 2 : first >> 4 == 0x0E ? 3 : first >> 3 == 0x1E ? 4 : 0;
}

}  // namespace

GrammarMatcher::GrammarMatcher(std::shared_ptr<const GrammarRules> rules, std::shared_ptr<const TokenTexts> texts) :
    rules_(std::move(rules)), texts_(std::move(texts)), work_(mostWork), nodes_(1), marks_(1), levels_(texts_->longest() + 1) {
    round_++;
    for (const uint32_t alternative : rules_->rules[rules_->root]) add(push(alternative, 0), current_.stacks);
}

void GrammarMatcher::startToken() { work_ = std::min(work_ + workPerToken, mostWork); }

void GrammarMatcher::spend(size_t work) {
    if (work > work_) throw GrammarTooComplex();
    work_ -= work;
}

GrammarMatcher::Stack GrammarMatcher::push(uint32_t symbol, Stack rest) {
    if (rules_->symbols[symbol].kind == GrammarRules::Kind::end) return rest;
    const auto [found, added] = index_.try_emplace(uint64_t{ symbol } << 32 | rest, static_cast<Stack>(nodes_.size()));
    if (added) {
        if (nodes_.size() == maxNodes) {
            index_.erase(found);
            throw GrammarTooComplex();
        }
        nodes_.push_back({ symbol, rest });
        marks_.push_back(0);
    }
    return found->second;
}

bool GrammarMatcher::beginsWithRule(Stack stack) const {
    return stack != 0 && rules_->symbols[nodes_[stack].symbol].kind == GrammarRules::Kind::rule;
}

// The stacks that a rule at the top stands for.
const std::vector<GrammarMatcher::Stack> & GrammarMatcher::expand(Stack stack) {
    const auto known = expansions_.find(stack);
    if (known != expansions_.end()) return known->second;
    std::vector<Stack> result;
    std::vector<Stack> open{ stack };
    std::unordered_set<Stack> seen;
    while (!open.empty()) {
        const Stack next = open.back();
        open.pop_back();
        if (!seen.insert(next).second) continue;
        spend(workPerExpansion);
        if (!beginsWithRule(next)) {
            result.push_back(next);
            continue;
        }
        const Node node = nodes_[next];
        const Stack after = push(node.symbol + 1, node.rest);
        for (const uint32_t alternative : rules_->rules[rules_->symbols[node.symbol].value]) open.push_back(push(alternative, after));
    }
    return expansions_.emplace(stack, std::move(result)).first->second;
}

// Once per round, however often.
void GrammarMatcher::add(Stack stack, std::vector<Stack> & stacks) {
    const auto addOne = [&](Stack one) {
        if (std::exchange(marks_[one], round_) != round_) stacks.push_back(one);
    };
    if (!beginsWithRule(stack)) return addOne(stack);
    const auto & expanded = expand(stack);
    spend(expanded.size());
    for (const Stack one : expanded) addOne(one);
}

void GrammarMatcher::advance(const std::vector<Stack> & from, uint32_t codePoint, std::vector<Stack> & to) {
    to.clear();
    round_++;
    spend(from.size());
    for (const Stack stack : from) {
        if (stack == 0) continue;
        const Node node = nodes_[stack];
        const auto & symbol = rules_->symbols[node.symbol];
        if (symbol.kind != GrammarRules::Kind::characters || !rules_->characters[symbol.value].matches(codePoint)) continue;
        add(push(node.symbol + 1, node.rest), to);
    }
}

// One byte of UTF-8 further; false: no reading is left, or this is no UTF-8.
bool GrammarMatcher::step(const Position & from, uint8_t byte, Position & to) {
    if (from.remaining > 0) {
        if (byte >> 6 != 2) return false;
        to.value = from.value << 6 | (byte & 0x3F);
        to.remaining = from.remaining - 1;
    } else {
        to.remaining = characterLength(byte) - 1;
        if (to.remaining < 0) return false;
        to.value = to.remaining == 0 ? byte : byte & (0x3F >> to.remaining);
    }
    if (to.remaining == 0) advance(from.stacks, to.value, to.stacks);
    else to.stacks = from.stacks;
    return !to.stacks.empty();
}

bool GrammarMatcher::follow(std::string_view text, Position & position) {
    Position next;
    for (const char byte : text) {
        if (!step(position, static_cast<uint8_t>(byte), next)) return false;
        std::swap(position, next);
    }
    return true;
}

// A token may end within a character if some reading can go on with one like it.
bool GrammarMatcher::mayEnd(const Position & position) const {
    if (position.remaining == 0) return true;
    return std::any_of(position.stacks.begin(), position.stacks.end(), [&](Stack stack) {
        if (stack == 0) return false;
        const auto & symbol = rules_->symbols[nodes_[stack].symbol];
        return symbol.kind == GrammarRules::Kind::characters &&
               rules_->characters[symbol.value].mayMatch(position.value, position.remaining);
    });
}

template <typename Visit> void GrammarMatcher::forTokenSymbols(llama_token token, Visit visit) {
    // As in llama.cpp, a token that may be named holds a character.
    const auto text = texts_->text(token);
    const size_t length = text.empty() ? 0 : characterLength(static_cast<uint8_t>(text.front()));
    if (current_.remaining > 0 || length == 0 || length > text.size()) return;
    spend(current_.stacks.size());
    for (const Stack stack : current_.stacks) {
        if (stack == 0) continue;
        const auto & symbol = rules_->symbols[nodes_[stack].symbol];
        const bool same = symbol.value == static_cast<uint32_t>(token);
        if (symbol.kind == GrammarRules::Kind::token ? same : symbol.kind == GrammarRules::Kind::anyTokenBut && !same) visit(stack);
    }
}

bool GrammarMatcher::complete() const {
    if (current_.remaining > 0) return false;
    return std::find(current_.stacks.begin(), current_.stacks.end(), Stack{ 0 }) != current_.stacks.end();
}

bool GrammarMatcher::allows(llama_token token) {
    if (texts_->endsGeneration(token)) return complete();
    const auto text = texts_->text(token);
    if (text.empty()) return false;
    bool named = false;
    forTokenSymbols(token, [&](Stack) { named = true; });
    if (named) return true;
    Position position = current_;
    return follow(text, position) && mayEnd(position);
}

void GrammarMatcher::findAllowed(std::vector<char> & allowed) {
    allowed.assign(texts_->size(), 0);
    levels_[0] = current_;
    size_t followed = 0;  // bytes of the entry before that some reading took
    for (const auto & entry : texts_->sorted()) {
        if (entry.shared > followed) continue;
        const auto text = texts_->text(entry.token);
        followed = entry.shared;
        while (followed < text.size() && step(levels_[followed], static_cast<uint8_t>(text[followed]), levels_[followed + 1])) followed++;
        allowed[entry.token] = followed == text.size() && mayEnd(levels_[followed]);
    }
    const bool named = std::any_of(current_.stacks.begin(), current_.stacks.end(), [this](Stack stack) {
        return stack != 0 && rules_->symbols[nodes_[stack].symbol].kind > GrammarRules::Kind::characters;
    });
    const bool ends = complete();
    for (llama_token token = 0; token < static_cast<llama_token>(allowed.size()); token++) {
        if (texts_->endsGeneration(token)) allowed[token] = ends;
        else if (named) forTokenSymbols(token, [&](Stack) { allowed[token] = 1; });
    }
}

bool GrammarMatcher::accept(llama_token token, std::string_view text) {
    if (texts_->endsGeneration(token)) return complete();
    if (text.empty()) return false;
    std::vector<Stack> named;
    forTokenSymbols(token, [&](Stack stack) { named.push_back(stack); });
    Position position = current_;
    if (!follow(text, position)) position = {};
    if (!named.empty()) {
        round_++;
        for (const Stack stack : position.stacks) marks_[stack] = round_;
        for (const Stack stack : named) add(push(nodes_[stack].symbol + 1, nodes_[stack].rest), position.stacks);
    }
    if (position.stacks.empty()) return false;
    current_ = std::move(position);
    if (nodes_.size() > sparedNodes) compact();
    return true;
}

// Forgets every stack that no reading needs any more.
void GrammarMatcher::compact() {
    const auto old = std::exchange(nodes_, std::vector<Node>(1));
    marks_.assign(1, 0);
    round_ = 0;
    index_.clear();
    expansions_.clear();
    std::vector<uint32_t> symbols;
    for (Stack & stack : current_.stacks) {
        symbols.clear();
        for (Stack at = stack; at != 0; at = old[at].rest) symbols.push_back(old[at].symbol);
        stack = 0;
        for (auto symbol = symbols.rbegin(); symbol != symbols.rend(); symbol++) stack = push(*symbol, stack);
    }
}
