#include "json_middle.h"

#include <vector>

namespace {

// After the escape sequence or the byte that begins there.
size_t nextInString(std::string_view json, size_t at) {
    if (json[at] != '\\') return at + 1;
    return at + 1 < json.size() && json[at + 1] == 'u' ? at + 6 : at + 2;
}

class Scan {
  public:
    Scan(std::string_view json, size_t margin) : json_(json), margin_(margin) {}

    TextRange longest() {
        if (json_.empty() || (json_[0] != '{' && json_[0] != '[')) return {};
        size_t at = 0;
        while (at < json_.size() && isJson_) at = isString_ ? inString(at) : outside(at);
        if (!isJson_) return {};
        TextRange longest = isString_ ? string_ : TextRange {};
        for (const auto & elements : open_) {
            if (elements.size() > longest.size()) longest = elements;
        }
        return longest;
    }

  private:
    size_t inString(size_t at) {
        if (json_[at] == '"') {
            isString_ = false;
            return at + 1;
        }
        if (at >= opened_ + margin_ && string_.begin == 0) string_.begin = at;
        if (at + margin_ <= json_.size()) string_.end = at;
        return nextInString(json_, at);
    }

    size_t outside(size_t at) {
        const char c = json_[at];
        if (c == '"') {
            isString_ = true;
            opened_ = at;
            string_ = {};
        } else if (c == '{' || c == '[') {
            open_.emplace_back();
        } else if (c == ',' && !open_.empty()) {
            auto & elements = open_.back();
            if (elements.begin == 0) elements.begin = at + 1;
            elements.end = at + 1;
        } else if (c == '}' || c == ']') {
            if (!open_.empty()) open_.pop_back();
        } else if (c == '\'') {
            isJson_ = false;  // a string of another language, which may hold anything
        }
        return at + 1;
    }

    const std::string_view json_;
    const size_t margin_;
    bool isJson_ = true;
    bool isString_ = false;
    size_t opened_ = 0;
    // In the open string.
    TextRange string_;
    // Of each open array or object, from its first comma to its last.
    std::vector<TextRange> open_;
};

}  // namespace

TextRange middleOfJson(std::string_view json, size_t margin) {
    return Scan(json, margin).longest();
}
