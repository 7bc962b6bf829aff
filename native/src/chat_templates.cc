#include "chat_templates.h"

#include <exception>
#include <utility>

#include "chat-auto-parser.h"

namespace {

// Requests that differ in their arguments for the template are remembered one by one, so long as these are few and short.
constexpr size_t mostKnown = 64;
constexpr size_t longestKey = 1024;

// Whether llama.cpp finds out how answers to this template are written, instead of knowing the template by its text. Code for a known
// one may change messages too.
bool isAnalysed(const std::string & source) {
    const common_chat_template given(source, "", "");
    autoparser::generation_params sample;
    sample.messages = common_json::array({ { { "role", "user" }, { "content", "Hello" } } });
    sample.add_generation_prompt = true;
    try {
        return !common_chat_try_specialized_template(given, source, sample);
    } catch (const std::exception &) {
        return false;  // known, and the sample is not to its liking
    }
}

// Of what two requests must have in common besides what follows their messages, so that their formats are the same.
std::string keyOf(const common_chat_templates_inputs & inputs) {
    std::string key;
    for (const int flag : { int(inputs.add_generation_prompt), int(inputs.enable_thinking), int(inputs.parallel_tool_calls),
                            int(inputs.tool_choice), int(inputs.reasoning_format), int(inputs.chat_template_kwargs.size()) }) {
        key += std::to_string(flag) + ",";
    }
    for (const auto & [name, value] : inputs.chat_template_kwargs) {
        for (const auto & part : { name, value }) key += std::to_string(part.size()) + ":" + part;
    }
    return key;
}

AppliedTemplate withFormat(common_chat_params params) {
    auto format = std::make_shared<const AnswerFormat>(params.format, params.parser);
    return { std::move(params), std::move(format) };
}

bool isPlain(const common_chat_templates_inputs & inputs) {
    return inputs.tools.empty() && inputs.json_schema.empty() && inputs.grammar.empty() &&
           inputs.continue_final_message == COMMON_CHAT_CONTINUATION_NONE;
}

}  // namespace

ChatTemplates::ChatTemplates(const llama_model * model, const std::string & source) :
    templates_(common_chat_templates_init(model, source)),
    thinks_(common_chat_templates_support_enable_thinking(templates_.get())),
    isAnalysed_(isAnalysed(common_chat_templates_source(templates_.get()))) {}

AppliedTemplate ChatTemplates::apply(common_chat_templates_inputs inputs) {
    std::string key;
    if (isAnalysed_ && isPlain(inputs)) key = keyOf(inputs);
    if (key.empty() || key.size() > longestKey) return withFormat(common_chat_templates_apply(get(), inputs));
    common_chat_params prompt;
    try {
        inputs.force_pure_content = true;
        prompt = common_chat_templates_apply(get(), inputs);
        inputs.force_pure_content = false;
    } catch (const std::exception &) {
        inputs.force_pure_content = false;
        return withFormat(common_chat_templates_apply(get(), inputs));  // which refuses it in its own words
    }
    key += prompt.generation_prompt;
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = known_.find(key); found != known_.end()) {
            auto applied = found->second;
            applied.params.prompt = std::move(prompt.prompt);
            return applied;
        }
    }
    auto applied = withFormat(common_chat_templates_apply(get(), inputs));
    const auto & params = applied.params;
    if (key.size() > longestKey || params.prompt != prompt.prompt || params.generation_prompt != prompt.generation_prompt) return applied;
    auto known = applied;
    known.params.prompt.clear();
    const std::lock_guard lock(mutex_);
    if (known_.size() >= mostKnown) known_.clear();
    known_.emplace(key, std::move(known));
    return applied;
}
