#include "chat_render.h"

#include "json.h"

namespace {

common_chat_templates_inputs parseInputs(const common_json & request, bool thinks) {
    common_chat_templates_inputs inputs;
    inputs.messages = common_chat_msgs_parse_oaicompat(request.at("messages"));
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    inputs.enable_thinking = thinks;
    if (request.contains("tools")) inputs.tools = common_chat_tools_parse_oaicompat(request.at("tools"));
    if (request.contains("tool_choice")) {
        inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(request.at("tool_choice").get<std::string>());
    }
    if (request.contains("parallel_tool_calls")) inputs.parallel_tool_calls = request.at("parallel_tool_calls").get<bool>();
    if (request.contains("json_schema")) inputs.json_schema = request.at("json_schema").dump();
    if (request.contains("grammar")) inputs.grammar = request.at("grammar").get<std::string>();
    if (request.contains("enable_thinking")) inputs.enable_thinking = request.at("enable_thinking").get<bool>();
    if (request.contains("add_generation_prompt")) {
        inputs.add_generation_prompt = request.at("add_generation_prompt").get<bool>();
    }
    if (request.contains("continue_final_message")) {
        inputs.continue_final_message = common_chat_continuation_parse(request.at("continue_final_message"));
    }
    if (request.contains("chat_template_kwargs")) {
        for (const auto & item : request.at("chat_template_kwargs").items()) {
            inputs.chat_template_kwargs[item.key()] = item.value().dump();
        }
    }
    return inputs;
}

}  // namespace

RenderedChat renderChatPrompt(ChatTemplates & templates, const Tokenizer & tokenizer, const std::string & requestJson) {
    RenderedChat chat{ templates.apply(parseInputs(common_json::parse(requestJson), templates.thinks())), {}, {} };
    chat.tokens = tokenizer.tokenize(chat.params.prompt, true, true);
    for (const std::string & text : chat.params.preserved_tokens) {
        const auto ids = tokenizer.tokenize(text, false, true);
        if (ids.size() == 1) chat.preservedTokens.push_back(ids[0]);
    }
    // A trigger word that is one preserved token is watched for as that token, as llama-server does.
    for (auto & trigger : chat.params.grammar_triggers) {
        if (trigger.type != COMMON_GRAMMAR_TRIGGER_TYPE_WORD) continue;
        const auto ids = tokenizer.tokenize(trigger.value, false, true);
        if (ids.size() != 1) continue;
        if (std::find(chat.preservedTokens.begin(), chat.preservedTokens.end(), ids[0]) == chat.preservedTokens.end()) continue;
        trigger.type = COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN;
        trigger.token = ids[0];
    }
    return chat;
}
