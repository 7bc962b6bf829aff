#include "answer_parser.h"

#include <algorithm>
#include <stdexcept>

namespace {

// Where llama.cpp's parser gave up, the rest of the text begins.
std::string unparsed(const std::string & text, const common_chat_parser_params & params) {
    const std::string input = params.generation_prompt + text;
    common_peg_parse_context context(input, COMMON_PEG_PARSE_FLAG_LENIENT);
    const size_t end = std::max(params.parser.parse(context).end, params.generation_prompt.size());
    return end < input.size() ? input.substr(end) : "";
}

}  // namespace

void AnswerParser::define(Napi::Env env, Napi::Object exports) {
    exports.Set("AnswerParser", DefineClass(env, "AnswerParser", { InstanceMethod<&AnswerParser::push>("push") }));
}

AnswerParser::AnswerParser(const Napi::CallbackInfo & info) : Napi::ObjectWrap<AnswerParser>(info) {
    const int format = info[0].ToNumber();
    if (format < 0 || format >= COMMON_CHAT_FORMAT_COUNT) throw std::out_of_range("unknown chat format");
    params_.format = static_cast<common_chat_format>(format);
    const auto options = info[3].As<Napi::Object>();
    params_.reasoning_format = options.Get("reasoning").ToBoolean() ? COMMON_REASONING_FORMAT_DEEPSEEK : COMMON_REASONING_FORMAT_NONE;
    params_.parse_tool_calls = options.Get("toolCalls").ToBoolean();
    params_.is_continuation = options.Get("continues").ToBoolean();
    params_.generation_prompt = info[2].ToString().Utf8Value();
    const std::string parser = info[1].ToString().Utf8Value();
    if (!parser.empty()) params_.parser.load(parser);
    // What the prompt holds of the answer already is not news.
    if (params_.is_continuation) message_ = common_chat_parse("", true, params_);
}

// push(text, isPartial) -> { reasoning, content, toolCalls: { index, name, arguments }[] }: what the text adds to each; a call's name
// comes with its first entry. isPartial false: the answer is complete. What the model wrote outside its format is no error: it is
// content, handed out at the end.
Napi::Value AnswerParser::push(const Napi::CallbackInfo & info) {
    const auto env = info.Env();
    text_ += info[0].ToString().Utf8Value();
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

// What the message gained. A text that the format does not allow adds nothing while it grows; at its end the rest is set aside.
std::vector<common_chat_msg_diff> AnswerParser::parse(bool isPartial) {
    try {
        common_chat_msg parsed = common_chat_parse(text_, isPartial, params_);
        auto diffs = common_chat_msg_diff::compute_diffs(message_, parsed);
        message_ = std::move(parsed);
        return diffs;
    } catch (const std::exception &) {
        if (isPartial) return {};
    }
    rest_ = unparsed(text_, params_);
    return parse(true);
}
