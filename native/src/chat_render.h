// llama.cpp's chat templates applied to OpenAI messages. No JavaScript here: it runs on a pool thread.
#pragma once

#include <string>
#include <vector>

#include "chat.h"
#include "llama.h"

struct RenderedChat {
    common_chat_params params;
    std::vector<llama_token> tokens;
    // Special tokens whose text belongs to the answer (reasoning tags, tool-call marks).
    std::vector<llama_token> preservedTokens;
};

// messagesJson: a JSON array of OpenAI messages. enableThinking: what a template that knows thinking is told; others ignore it.
// Throws std::exception with the template's own message when it refuses the messages.
RenderedChat renderChatPrompt(const common_chat_templates * templates, const llama_vocab * vocab,
                              const std::string & messagesJson, bool enableThinking);
