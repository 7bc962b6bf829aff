// How a model writes its answers to one kind of prompt: llama.cpp's parser for them, and what answer_window.h needs to know about it.
// Loading takes milliseconds where there are many tools. No JavaScript here: it is made on a pool thread.
#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "chat.h"
#include "peg-parser.h"

struct AnswerFormat {
    // parser: as llama.cpp saves it; empty = the answer is content. Throws std::exception when it is none.
    AnswerFormat(common_chat_format format, const std::string & parser);

    common_chat_format format;
    common_peg_arena parser;
    // Tags of text that ends at a mark.
    std::set<std::string> plainTags;
    // Bytes kept on both sides of what is taken out of such text: no mark is longer.
    size_t margin;
};
