// What llama.cpp's parser is given of an answer, which it reads anew each time: the text without the settled middle of its long
// stretches, so that a token costs about the same however long the answer is. The middle is one that nothing depends on any more: of
// text that only ends at a mark, or of unfinished JSON (json_middle.h).
#pragma once

#include <cstddef>
#include <string>

#include "answer_format.h"
#include "chat.h"
#include "json_middle.h"
#include "peg-parser.h"

class AnswerWindow {
  public:
    // Both outlive it, and the params are complete but for the parser.
    AnswerWindow(const AnswerFormat & format, const common_chat_parser_params & params);

    void append(const std::string & text);

    // Enough has come to read it again. What cannot be shortened is read in steps that grow with it.
    bool isDue() const;
    // Throws what llama.cpp's parser throws.
    common_chat_msg read(bool isPartial);
    // What was read last is in the message: takes the middle out of both when the text is long enough for that.
    void accept(common_chat_msg & message);
    // Puts back what was taken out, in the text and in the message. False: there was nothing.
    bool restore(common_chat_msg & message);
    // Ends the text there. Returns what came after.
    std::string cut(size_t length);

    const std::string & text() const { return text_; }
    // Bytes that the parser was given so far, over and over.
    size_t bytesRead() const { return bytesRead_; }

  private:
    common_chat_msg parse(const std::string & text, bool isPartial);
    TextRange longestMiddle();
    TextRange middleOf(const common_peg_ast_node & node) const;

    const AnswerFormat & format_;
    const common_chat_parser_params & params_;
    std::string text_;
    std::string whole_;
    bool isShortened_ = false;
    // How much of text_ was read, and of whole_ into the message.
    size_t read_ = 0;
    size_t wholeRead_ = 0;
    size_t shortenAt_;
    size_t bytesRead_ = 0;
};
