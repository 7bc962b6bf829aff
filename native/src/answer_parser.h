// llama.cpp's parser for one chat answer: the text as it grows goes in, differences of reasoning and content come out.
#pragma once

#include <string>

#include "chat.h"
#include "napi.h"

class AnswerParser : public Napi::ObjectWrap<AnswerParser> {
  public:
    static void define(Napi::Env env, Napi::Object exports);

    // new AnswerParser(format, parser, generationPrompt), all three from renderChat()
    explicit AnswerParser(const Napi::CallbackInfo & info);

  private:
    Napi::Value push(const Napi::CallbackInfo & info);

    common_chat_parser_params params_;
    std::string text_;
    common_chat_msg message_;
};
