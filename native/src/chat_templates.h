// A model's chat templates, applied as common_chat_templates_apply() does. That finds out for every request anew how a model writes its
// answers, by some fifty renderings that depend on the template alone. Where a request has neither tools nor a schema it is found out
// once here: what may differ between such requests is their prompt. No JavaScript here: it is used on pool threads.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "answer_format.h"
#include "chat.h"
#include "llama.h"

struct AppliedTemplate {
    common_chat_params params;
    std::shared_ptr<const AnswerFormat> format;
};

class ChatTemplates {
  public:
    // source: "" = the model's own, ChatML when it has none. Throws std::exception when llama.cpp cannot read it.
    ChatTemplates(const llama_model * model, const std::string & source);

    const common_chat_templates * get() const { return templates_.get(); }
    // The template knows thinking.
    bool thinks() const { return thinks_; }

    // As common_chat_templates_apply(), with the parser of answers loaded. From any thread.
    AppliedTemplate apply(common_chat_templates_inputs inputs);

  private:
    common_chat_templates_ptr templates_;
    bool thinks_;
    bool isAnalysed_;
    std::mutex mutex_;
    // Without their prompts.
    std::map<std::string, AppliedTemplate> known_;
};
