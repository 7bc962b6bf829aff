#include "answer_parser.h"

#include <stdexcept>

void AnswerParser::define(Napi::Env env, Napi::Object exports) {
    exports.Set("AnswerParser", DefineClass(env, "AnswerParser", { InstanceMethod<&AnswerParser::push>("push") }));
}

AnswerParser::AnswerParser(const Napi::CallbackInfo & info) : Napi::ObjectWrap<AnswerParser>(info) {
    const int format = info[0].ToNumber();
    if (format < 0 || format >= COMMON_CHAT_FORMAT_COUNT) throw std::out_of_range("unknown chat format");
    params_.format = static_cast<common_chat_format>(format);
    params_.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    params_.generation_prompt = info[2].ToString().Utf8Value();
    const std::string parser = info[1].ToString().Utf8Value();
    if (!parser.empty()) params_.parser.load(parser);
}

// push(text, isPartial) -> { reasoning, content }: what the text adds to either. isPartial false: the answer is complete.
Napi::Value AnswerParser::push(const Napi::CallbackInfo & info) {
    text_ += info[0].ToString().Utf8Value();
    const common_chat_msg parsed = common_chat_parse(text_, info[1].ToBoolean(), params_);
    auto result = Napi::Object::New(info.Env());
    std::string reasoning;
    std::string content;
    for (const auto & diff : common_chat_msg_diff::compute_diffs(message_, parsed)) {
        reasoning += diff.reasoning_content_delta;
        content += diff.content_delta;
    }
    message_ = parsed;
    result.Set("reasoning", reasoning);
    result.Set("content", content);
    return result;
}
