// llama.cpp's parser for one chat answer: the text as it grows goes in, differences of reasoning, content and tool calls come out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "answer_format.h"
#include "answer_window.h"
#include "chat.h"
#include "napi.h"

class AnswerParser : public Napi::ObjectWrap<AnswerParser> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // new AnswerParser(format, generationPrompt, { reasoning, toolCalls, continues }): the first two from renderChat();
    // reasoning and toolCalls false: leave such text in the content; continues: the prompt ends inside the answer.
    explicit AnswerParser(const Napi::CallbackInfo & info);

  private:
    Napi::Value push(const Napi::CallbackInfo & info);
    // How much llama.cpp's parser was given so far: what the answer cost.
    Napi::Value bytesRead(const Napi::CallbackInfo & info);
    std::vector<common_chat_msg_diff> parse(bool isPartial);
    std::vector<common_chat_msg_diff> parseEnd();
    std::vector<common_chat_msg_diff> take(bool isPartial);

    std::shared_ptr<const AnswerFormat> format_;
    common_chat_parser_params params_;  // but for the parser, which is the format's
    std::unique_ptr<AnswerWindow> window_;
    std::string rest_;
    common_chat_msg message_;
};
