#include "grammar_rules.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "llama-grammar.h"

namespace {

// The parser calls itself for every open parenthesis, and the check of left recursion for every rule that begins with a rule.
constexpr size_t maxNesting = 200;
constexpr size_t maxRuleChain = 5000;
// Elements that repetitions add: each copies what it repeats.
constexpr size_t maxRepeated = 200'000;
constexpr size_t maxRepetition = 2000;  // llama.cpp takes more as "any number"
constexpr size_t maxQuoted = 40;

[[noreturn]] void refuse(const std::string & why) { throw std::invalid_argument(why); }

// Measures a grammar's text before the parser sees it.
class ExcessCheck {
  public:
    explicit ExcessCheck(const std::string & source) : source_(source) {}

    void run() {
        if (source_.find('\0') != std::string::npos) refuse("a NUL character");
        for (; at_ < source_.size(); at_++) {
            switch (source_[at_]) {
                case '#': at_ = std::min(source_.find('\n', at_), source_.size()); break;
                case '"': item_ = quoted('"'); break;
                case '[': item_ = quoted(']'); break;
                case '<': at_ = std::min(source_.find('>', at_), source_.size()); item_ = 1; break;
                case '(': if (++nesting_ > maxNesting) refuse("parentheses are nested too deep"); break;
                case ')': if (nesting_ > 0) nesting_--; item_ = 1; break;
                case '*': case '+': case '?': repeat(1); break;
                case '{': repeat(bound()); break;
                default: if (std::isalnum(static_cast<unsigned char>(source_[at_]))) item_ = 1;
            }
        }
    }

  private:
    // From the opening sign to the closing one: characters between them.
    size_t quoted(char close) {
        size_t length = 0;
        for (at_++; at_ < source_.size() && source_[at_] != close; at_++, length++) {
            if (source_[at_] == '\\') at_++;
        }
        return std::max<size_t>(length, 1);
    }

    // The larger number of {m,n}.
    size_t bound() {
        size_t largest = 0;
        size_t number = 0;
        for (at_++; at_ < source_.size() && source_[at_] != '}'; at_++) {
            const bool digit = std::isdigit(static_cast<unsigned char>(source_[at_])) != 0;
            number = digit ? std::min(number * 10 + (source_[at_] - '0'), maxRepetition) : 0;
            largest = std::max(largest, number);
        }
        return largest;
    }

    void repeat(size_t times) {
        item_ *= std::max<size_t>(times, 1);
        repeated_ += item_ + 3 * times;
        if (repeated_ > maxRepeated) refuse("its repetitions are too large altogether");
    }

    const std::string & source_;
    size_t at_ = 0;
    size_t nesting_ = 0;
    size_t item_ = 1;  // elements of what a repetition here would repeat
    size_t repeated_ = 0;
};

// White space and comments before the first rule; the parser skips the others.
const char * skipSpace(const char * text) {
    for (bool comment = false; *text != '\0'; text++) {
        if (*text == '#') comment = true;
        if (*text == '\n' || *text == '\r') comment = false;
        else if (!comment && *text != ' ' && *text != '\t') break;
    }
    return text;
}

// The parser's messages end in "at " and the whole rest of the grammar.
std::string locate(const std::string & message, const std::string & source) {
    const size_t at = message.find(" at ");
    if (at == std::string::npos) return message.substr(0, 100);
    const std::string rest = message.substr(at + 4);
    if (rest.size() > source.size() || !source.ends_with(rest)) return message.substr(0, 100);
    const auto line = std::count(source.begin(), source.end() - static_cast<std::ptrdiff_t>(rest.size()), '\n') + 1;
    const std::string where = message.substr(0, at) + " at line " + std::to_string(line) + ": ";
    if (rest.empty()) return where + "the end";
    size_t length = std::min(rest.find('\n'), std::min(rest.size(), maxQuoted));
    while (length > 0 && length < rest.size() && (rest[length] & 0xC0) == 0x80) length--;  // not within a character
    return where + rest.substr(0, length);
}

void parseAll(llama_grammar_parser & parser, const std::string & source) {
    try {
        for (const char * at = skipSpace(source.c_str()); *at != '\0';) at = parser.parse_rule(at);
    } catch (const std::exception & error) {
        refuse(locate(error.what(), source));
    }
    for (const auto & [name, rule] : parser.symbol_ids) {
        if (rule >= parser.rules.size() || parser.rules[rule].empty()) {
            refuse("Undefined rule identifier '" + name.substr(0, maxQuoted) + "'");
        }
    }
    if (parser.symbol_ids.find("root") == parser.symbol_ids.end()) refuse("it has no rule named 'root'");
}

bool continuesCharacters(llama_gretype type) {
    return type == LLAMA_GRETYPE_CHAR_ALT || type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
}

// One set of characters, which may take several elements; moves `at` behind it.
GrammarRules::Characters readCharacters(const llama_grammar_rule & rule, size_t & at) {
    GrammarRules::Characters result;
    const auto type = rule[at].type;
    result.inverse = type == LLAMA_GRETYPE_CHAR_NOT || type == LLAMA_GRETYPE_CHAR_ANY;
    if (type != LLAMA_GRETYPE_CHAR_ANY) result.ranges.push_back({ rule[at].value, rule[at].value });
    for (at++; continuesCharacters(rule[at].type); at++) {
        if (rule[at].type == LLAMA_GRETYPE_CHAR_RNG_UPPER) result.ranges.back().second = rule[at].value;
        else result.ranges.push_back({ rule[at].value, rule[at].value });
    }
    for (uint32_t c = 0; c < result.ascii.size(); c++) result.ascii[c] = result.inRanges(c, c) != result.inverse;
    return result;
}

void compileRule(const llama_grammar_rule & rule, GrammarRules & compiled) {
    using Kind = GrammarRules::Kind;
    auto & alternatives = compiled.rules.emplace_back();
    alternatives.push_back(compiled.symbols.size());
    for (size_t at = 0;;) {
        const auto & element = rule[at];
        switch (element.type) {
            case LLAMA_GRETYPE_END:
                compiled.symbols.push_back({ Kind::end, 0 });
                return;
            case LLAMA_GRETYPE_ALT:
                compiled.symbols.push_back({ Kind::end, 0 });
                alternatives.push_back(compiled.symbols.size());
                at++;
                break;
            case LLAMA_GRETYPE_RULE_REF:
                compiled.symbols.push_back({ Kind::rule, element.value });
                at++;
                break;
            case LLAMA_GRETYPE_TOKEN:
            case LLAMA_GRETYPE_TOKEN_NOT:
                compiled.symbols.push_back({ element.type == LLAMA_GRETYPE_TOKEN ? Kind::token : Kind::anyTokenBut, element.value });
                at++;
                break;
            default:
                compiled.symbols.push_back({ Kind::characters, static_cast<uint32_t>(compiled.characters.size()) });
                compiled.characters.push_back(readCharacters(rule, at));
        }
    }
}

// Refuses rules that begin with themselves: following them would never end. Where what stands before may be empty, the matcher's
// bound on work finds out.
class LeftRecursionCheck {
  public:
    explicit LeftRecursionCheck(const GrammarRules & rules) : rules_(rules), states_(rules.rules.size(), State::unknown) {}

    void run() {
        for (uint32_t rule = 0; rule < states_.size(); rule++) visit(rule, 0);
    }

  private:
    enum class State : uint8_t { unknown, open, done };

    void visit(uint32_t rule, size_t depth) {
        if (states_[rule] == State::open) refuse("left recursion: a rule begins with itself");
        if (states_[rule] == State::done) return;
        if (depth > maxRuleChain) refuse("too many rules begin with one another");
        states_[rule] = State::open;
        for (const uint32_t at : rules_.rules[rule]) {
            if (rules_.symbols[at].kind == GrammarRules::Kind::rule) visit(rules_.symbols[at].value, depth + 1);
        }
        states_[rule] = State::done;
    }

    const GrammarRules & rules_;
    std::vector<State> states_;
};

}  // namespace

bool GrammarRules::Characters::inRanges(uint32_t from, uint32_t to) const {
    return std::any_of(ranges.begin(), ranges.end(), [&](const auto & range) { return range.first <= to && from <= range.second; });
}

bool GrammarRules::Characters::matches(uint32_t codePoint) const {
    return codePoint < ascii.size() ? ascii[codePoint] : inRanges(codePoint, codePoint) != inverse;
}

bool GrammarRules::Characters::mayMatch(uint32_t value, int remaining) const {
    if (remaining == 1 && value < 2) return false;  // seven bits spread over two bytes
    uint32_t low = value << (remaining * 6);
    const uint32_t high = low | ((1u << (remaining * 6)) - 1);
    if (low == 0 && remaining == 2) low = 1u << 11;
    if (low == 0 && remaining == 3) low = 1u << 16;
    return inRanges(low, high) != inverse;
}

GrammarRules parseGrammar(const llama_vocab * vocab, const std::string & source) {
    ExcessCheck(source).run();
    llama_grammar_parser parser(vocab);
    parseAll(parser, source);
    GrammarRules compiled;
    for (const auto & rule : parser.rules) compileRule(rule, compiled);
    compiled.root = parser.symbol_ids.at("root");
    LeftRecursionCheck(compiled).run();
    return compiled;
}
