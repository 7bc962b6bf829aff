// The settled middle of JSON that is still being written: what can be taken out so that whatever follows is read as before.
#pragma once

#include <cstddef>
#include <string_view>

struct TextRange {
    size_t begin = 0;
    size_t end = 0;
    size_t size() const { return end > begin ? end - begin : 0; }
};

// Within the string that is open at the end, or whole elements of one of the arrays and objects that are; the longest of these.
// Empty when there is none, or when the text is no JSON.
// margin: bytes that stay on both sides in a string.
TextRange middleOfJson(std::string_view json, size_t margin);
