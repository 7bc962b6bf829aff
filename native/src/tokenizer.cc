#include "tokenizer.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <unordered_set>

#include "common.h"

namespace {

// Special tokens of one part: few enough for llama.cpp's walk over them, many enough that parts are rare.
constexpr size_t marksPerPart = 128;

// Shorter texts cannot hold so many that it would matter.
constexpr size_t longText = 4096;

// Texts of special tokens longer than this are never cut behind, so that looking for overlaps stays cheap.
constexpr size_t longestMark = 64;

constexpr int special = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;

struct SpecialToken {
    std::string text;
    int attributes;
};

std::vector<SpecialToken> specialTokens(const llama_vocab * vocab) {
    std::vector<SpecialToken> tokens;
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); token++) {
        const int attributes = llama_vocab_get_attr(vocab, token);
        const std::string text = llama_vocab_get_text(vocab, token);
        if ((attributes & special) && !text.empty()) tokens.push_back({ text, attributes });
    }
    return tokens;
}

// What a text may share with other special tokens when they overlap: their beginnings, ends and middles.
struct Overlaps {
    std::unordered_set<std::string_view> beginnings, ends, inside;

    explicit Overlaps(const std::vector<SpecialToken> & tokens) {
        for (const auto & token : tokens) {
            const std::string_view text = token.text;
            for (size_t length = 1; length <= text.size(); length++) {
                beginnings.insert(text.substr(0, length));
                ends.insert(text.substr(text.size() - length));
            }
            for (size_t from = 0; from < text.size(); from++) {
                for (size_t length = 1; length <= std::min(longestMark, text.size() - from); length++) {
                    if (length < text.size()) inside.insert(text.substr(from, length));
                }
            }
        }
    }

    bool concern(std::string_view text) const {
        if (inside.contains(text)) return true;
        for (size_t length = 1; length < text.size(); length++) {
            if (ends.contains(text.substr(0, length)) || beginnings.contains(text.substr(text.size() - length))) return true;
        }
        return false;
    }
};

}  // namespace

const Tokenizer::Marks & Tokenizer::marks() const {
    std::call_once(found_, [this] { findMarks(); });
    return marks_;
}

void Tokenizer::findMarks() const {
    const auto tokens = specialTokens(vocab_);
    const Overlaps overlaps(tokens);
    std::set<size_t> lengths;
    for (const auto & [text, attributes] : tokens) {
        const bool strips = attributes & LLAMA_TOKEN_ATTR_RSTRIP || std::isspace(static_cast<unsigned char>(text.back()));
        if (strips || text.size() > longestMark || overlaps.concern(text)) continue;
        marks_.texts[text] = !(attributes & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN));
        marks_.begins[static_cast<unsigned char>(text.front())] = true;
        lengths.insert(text.size());
    }
    marks_.lengths.assign(lengths.begin(), lengths.end());
}

// The length of the mark there; 0: none.
size_t Tokenizer::markAt(std::string_view text, size_t at, bool parseSpecial) const {
    if (!marks_.begins[static_cast<unsigned char>(text[at])]) return 0;
    for (const size_t length : marks_.lengths) {
        if (length > text.size() - at) return 0;
        const auto found = marks_.texts.find(std::string(text.substr(at, length)));
        if (found != marks_.texts.end() && (parseSpecial || found->second)) return length;
    }
    return 0;
}

// Where the parts of the text end, but for the last one.
std::vector<size_t> Tokenizer::cuts(const std::string & text, bool parseSpecial) const {
    std::vector<size_t> ends;
    if (text.size() < longText || marks().texts.empty()) return ends;
    size_t count = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t length = markAt(text, at, parseSpecial);
        at += std::max<size_t>(length, 1);
        if (length == 0 || ++count % marksPerPart != 0 || at == text.size()) continue;
        ends.push_back(at);
    }
    return ends;
}

std::vector<llama_token> Tokenizer::tokenize(const std::string & text, bool addSpecial, bool parseSpecial) const {
    const auto ends = cuts(text, parseSpecial);
    if (ends.empty()) return common_tokenize(vocab_, text, addSpecial, parseSpecial);
    const auto around = addSpecial ? common_tokenize(vocab_, "", true, parseSpecial) : std::vector<llama_token>();
    const size_t before = around.size() == 1 && llama_vocab_get_add_eos(vocab_) ? 0 : std::min<size_t>(around.size(), 1);
    std::vector<llama_token> tokens(around.begin(), around.begin() + static_cast<std::ptrdiff_t>(before));
    size_t from = 0;
    const auto append = [&](size_t end) {
        const auto part = common_tokenize(vocab_, text.substr(from, end - from), false, parseSpecial);
        tokens.insert(tokens.end(), part.begin(), part.end());
        from = end;
    };
    for (const size_t end : ends) append(end);
    append(text.size());
    tokens.insert(tokens.end(), around.begin() + static_cast<std::ptrdiff_t>(before), around.end());
    return tokens;
}
