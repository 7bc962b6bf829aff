// An AnswerFormat in JavaScript's hands: what renderChat() gives and AnswerParsers are made with.
#pragma once

#include <memory>

#include "answer_format.h"
#include "napi.h"

class HeldFormat : public Napi::ObjectWrap<HeldFormat> {
  public:
    static void define(Napi::Env env);
    static Napi::Value hold(Napi::Env env, std::shared_ptr<const AnswerFormat> format);
    // Throws std::invalid_argument when the value is none.
    static std::shared_ptr<const AnswerFormat> from(const Napi::Value & value);

    // Only through hold().
    explicit HeldFormat(const Napi::CallbackInfo & info);

  private:
    std::shared_ptr<const AnswerFormat> format_;
};
