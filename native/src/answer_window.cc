#include "answer_window.h"

#include <algorithm>
#include <exception>
#include <set>
#include <string_view>
#include <utility>

#include "chat-peg-parser.h"

namespace {

using Builder = common_chat_peg_builder;

// The text is as long as this before anything is taken out of it.
constexpr size_t longText = 512;
// Text that is longer than this all the same is read again when a part of it is new: what one more byte costs is bounded.
constexpr size_t stubbornText = 2 * longText;
constexpr size_t newPart = 64;

bool isInsideCharacter(const std::string & text, size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
}

// Of text that may be JSON. A tag that is plain in one format is JSON in another.
const std::set<std::string> jsonTags = { Builder::CONTENT, Builder::TOOL_ARGS, Builder::TOOL_ARG_VALUE };

// Whether the shorter text is the longer one without one piece.
bool lacksOnePiece(std::string_view longer, std::string_view shorter) {
    if (shorter.size() > longer.size()) return false;
    const size_t same = std::mismatch(shorter.begin(), shorter.end(), longer.begin()).first - shorter.begin();
    return longer.substr(longer.size() - (shorter.size() - same)) == shorter.substr(same);
}

// Whether the second message is the first one but for a piece that one of its texts lacks.
bool lacksOnePiece(const common_chat_msg & longer, const common_chat_msg & shorter) {
    if (longer.tool_calls.size() != shorter.tool_calls.size()) return false;
    int changed = 0;
    const auto fits = [&](const std::string & before, const std::string & after) {
        if (before == after) return true;
        changed++;
        return lacksOnePiece(before, after);
    };
    if (!fits(longer.reasoning_content, shorter.reasoning_content) || !fits(longer.content, shorter.content)) return false;
    for (size_t i = 0; i < longer.tool_calls.size(); i++) {
        const auto & before = longer.tool_calls[i];
        const auto & after = shorter.tool_calls[i];
        if (before.name != after.name || before.id != after.id || !fits(before.arguments, after.arguments)) return false;
    }
    return changed == 1;
}

}  // namespace

AnswerWindow::AnswerWindow(const AnswerFormat & format, const common_chat_parser_params & params)
    : format_(format), params_(params), shortenAt_(longText) {}

void AnswerWindow::append(const std::string & text) {
    text_ += text;
    whole_ += text;
}

bool AnswerWindow::isDue() const {
    return text_.size() <= stubbornText || text_.size() - read_ >= text_.size() / newPart;
}

common_chat_msg AnswerWindow::read(bool isPartial) {
    read_ = text_.size();
    return parse(text_, isPartial);
}

common_chat_msg AnswerWindow::parse(const std::string & text, bool isPartial) {
    bytesRead_ += text.size();
    return common_chat_peg_parse(format_.parser, text, isPartial, params_);
}

void AnswerWindow::accept(common_chat_msg & message) {
    wholeRead_ = whole_.size();
    if (text_.size() < shortenAt_) return;
    const auto middle = longestMiddle();
    if (middle.size() > 0) {
        std::string shorter = text_;
        shorter.erase(middle.begin, middle.size());
        // What is left must say the same. Should it not, the text stays as it is for now.
        try {
            auto parsed = parse(shorter, true);
            if (lacksOnePiece(message, parsed)) {
                message = std::move(parsed);
                text_ = std::move(shorter);
                read_ = text_.size();
                isShortened_ = true;
            }
        } catch (const std::exception &) {
        }
    }
    shortenAt_ = std::max(longText, text_.size() + text_.size() / 2);
}

bool AnswerWindow::restore(common_chat_msg & message) {
    if (!isShortened_) return false;
    message = parse(whole_.substr(0, wholeRead_), true);
    text_ = whole_;
    isShortened_ = false;
    return true;
}

std::string AnswerWindow::cut(size_t length) {
    auto rest = text_.substr(length);
    text_.resize(length);
    return rest;
}

TextRange AnswerWindow::longestMiddle() {
    TextRange longest;
    if (format_.parser.empty()) return longest;
    bytesRead_ += text_.size();
    common_peg_parse_context context(params_.generation_prompt + text_, COMMON_PEG_PARSE_FLAG_LENIENT);
    const auto result = format_.parser.parse(context);
    context.ast.visit(result, [&](const common_peg_ast_node & node) {
        const auto range = middleOf(node);
        if (range.size() > longest.size()) longest = range;
    });
    return longest;
}

// In text_, which the parser sees behind the generation prompt.
TextRange AnswerWindow::middleOf(const common_peg_ast_node & node) const {
    const size_t offset = params_.generation_prompt.size();
    TextRange range;
    if (format_.plainTags.count(node.tag) > 0) {
        range = { node.start + format_.margin, node.end > format_.margin ? node.end - format_.margin : 0 };
    } else if (node.is_partial && jsonTags.count(node.tag) > 0) {
        range = middleOfJson(node.text, format_.margin);
        range = { node.start + range.begin, node.start + range.end };
    }
    range = { std::max(range.begin, offset) - offset, std::max(range.end, offset) - offset };
    if (range.size() < format_.margin) return {};
    while (isInsideCharacter(text_, range.begin)) range.begin++;
    while (isInsideCharacter(text_, range.end)) range.end--;
    return range;
}
