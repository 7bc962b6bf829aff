// llama.cpp's chat templates applied to OpenAI messages. No JavaScript here: it runs on a pool thread.
#pragma once

#include <string>
#include <vector>

#include "chat.h"
#include "chat_templates.h"
#include "llama.h"
#include "tokenizer.h"

struct RenderedChat : AppliedTemplate {
    std::vector<llama_token> tokens;
    // Special tokens whose text belongs to the answer (reasoning tags, tool-call marks).
    std::vector<llama_token> preservedTokens;
};

// requestJson: an object with llama-server's names: messages, and if wanted tools, tool_choice ("auto", "required", "none"),
// parallel_tool_calls, json_schema, grammar, chat_template_kwargs, add_generation_prompt, continue_final_message, enable_thinking.
// A template that knows thinking is asked to think unless enable_thinking says no, as llama-server does.
// Throws std::exception with the template's own message when it refuses the messages.
RenderedChat renderChatPrompt(ChatTemplates & templates, const Tokenizer & tokenizer, const std::string & requestJson);
