#include "chat_render.h"

#include "common.h"
#include "json.h"

RenderedChat renderChatPrompt(const common_chat_templates * templates, const llama_vocab * vocab,
                              const std::string & messagesJson, bool enableThinking) {
    common_chat_templates_inputs inputs;
    inputs.messages = common_chat_msgs_parse_oaicompat(common_json::parse(messagesJson));
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    inputs.enable_thinking = enableThinking;

    RenderedChat chat;
    chat.params = common_chat_templates_apply(templates, inputs);
    chat.tokens = common_tokenize(vocab, chat.params.prompt, true, true);
    for (const std::string & text : chat.params.preserved_tokens) {
        const auto ids = common_tokenize(vocab, text, false, true);
        if (ids.size() == 1) chat.preservedTokens.push_back(ids[0]);
    }
    return chat;
}
