#include "answer_parser.h"

#include <algorithm>
#include <stdexcept>

#include "held_format.h"

namespace {

// Where llama.cpp's parser gave up.
size_t parsedUpTo(const std::string & text, const common_peg_arena & parser, const std::string & generationPrompt) {
    const size_t offset = generationPrompt.size();
    common_peg_parse_context context(generationPrompt + text, COMMON_PEG_PARSE_FLAG_LENIENT);
    return std::min(std::max(parser.parse(context).end, offset) - offset, text.size());
}

bool isSomething(const common_chat_msg_diff & diff) {
    const auto & call = diff.tool_call_delta;
    return !(diff.reasoning_content_delta + diff.content_delta + call.name + call.arguments).empty();
}

// Returns whether anything was missing.
bool keepSaid(const std::string & said, std::string & text) {
    if (text.size() >= said.size()) return false;
    text = said;
    return true;
}

bool keepSaid(const common_chat_msg & said, common_chat_msg & message) {
    bool isKept = keepSaid(said.reasoning_content, message.reasoning_content);
    isKept |= keepSaid(said.content, message.content);
    for (size_t i = 0; i < said.tool_calls.size(); i++) {
        isKept |= keepSaid(said.tool_calls[i].arguments, message.tool_calls[i].arguments);
    }
    return isKept;
}

}  // namespace

void AnswerParser::define(Napi::Env env, Napi::Object exports) {
    exports.Set("AnswerParser", DefineClass(env, "AnswerParser", {
        InstanceMethod<&AnswerParser::push>("push"),
        InstanceAccessor<&AnswerParser::bytesRead>("bytesRead"),
    }));
}

AnswerParser::AnswerParser(const Napi::CallbackInfo & info) : Napi::ObjectWrap<AnswerParser>(info) {
    format_ = HeldFormat::from(info[0]);
    params_.format = format_->format;
    const auto options = info[2].As<Napi::Object>();
    params_.reasoning_format = options.Get("reasoning").ToBoolean() ? COMMON_REASONING_FORMAT_DEEPSEEK : COMMON_REASONING_FORMAT_NONE;
    params_.parse_tool_calls = options.Get("toolCalls").ToBoolean();
    params_.is_continuation = options.Get("continues").ToBoolean();
    params_.generation_prompt = info[1].ToString().Utf8Value();
    window_ = std::make_unique<AnswerWindow>(*format_, params_);
    // What the prompt holds of the answer already is not news.
    if (params_.is_continuation) message_ = common_chat_peg_parse(format_->parser, "", true, params_);
}

// push(text, isPartial) -> { reasoning, content, toolCalls: { index, name, arguments }[] }: what the text adds to each; a call's name
// comes with its first entry. isPartial false: the answer is complete. What the model wrote outside its format is no error: it is
// content, handed out at the end. Text may also be held back until more has come, in small pieces (answer_window.h).
Napi::Value AnswerParser::push(const Napi::CallbackInfo & info) {
    const auto env = info.Env();
    window_->append(info[0].ToString().Utf8Value());
    const bool isPartial = info[1].ToBoolean();
    std::string reasoning;
    std::string content;
    auto calls = Napi::Array::New(env);
    for (const auto & diff : parse(isPartial)) {
        reasoning += diff.reasoning_content_delta;
        content += diff.content_delta;
        if (diff.tool_call_index == std::string::npos) continue;
        auto call = Napi::Object::New(env);
        call.Set("index", static_cast<double>(diff.tool_call_index));
        call.Set("name", diff.tool_call_delta.name);
        call.Set("arguments", diff.tool_call_delta.arguments);
        calls.Set(calls.Length(), call);
    }
    if (!isPartial) content += rest_;
    auto result = Napi::Object::New(env);
    result.Set("reasoning", reasoning);
    result.Set("content", content);
    result.Set("toolCalls", calls);
    return result;
}

Napi::Value AnswerParser::bytesRead(const Napi::CallbackInfo & info) {
    return Napi::Number::New(info.Env(), static_cast<double>(window_->bytesRead()));
}

// What the message gained. A text that the format does not allow adds nothing while it grows; at its end the rest is set aside.
std::vector<common_chat_msg_diff> AnswerParser::parse(bool isPartial) {
    if (!isPartial) return parseEnd();
    if (!window_->isDue()) return {};
    try {
        return take(true);
    } catch (const std::exception &) {
        return {};
    }
}

std::vector<common_chat_msg_diff> AnswerParser::parseEnd() {
    try {
        return take(false);
    } catch (const std::exception &) {
        if (window_->restore(message_)) return parseEnd();
        rest_ = window_->cut(parsedUpTo(window_->text(), format_->parser, params_.generation_prompt));
    }
    try {
        return take(true);
    } catch (const std::exception &) {
        return {};
    }
}

std::vector<common_chat_msg_diff> AnswerParser::take(bool isPartial) {
    common_chat_msg parsed = window_->read(isPartial);
    auto diffs = common_chat_msg_diff::compute_diffs(message_, parsed);
    const bool isNews = std::any_of(diffs.begin(), diffs.end(), isSomething);
    // What was said stays said, also where a later reading takes it back: one that does nothing else counts for nothing.
    if (keepSaid(message_, parsed) && !isNews) return {};
    message_ = std::move(parsed);
    if (isPartial) window_->accept(message_);
    return diffs;
}
