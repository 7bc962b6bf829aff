#include "model.h"

#include <stdexcept>
#include <vector>

#include "AddonModel.h"
#include "adapters.h"
#include "arguments.h"
#include "chat_render.h"
#include "common.h"
#include "held_format.h"
#include "json-schema-to-grammar.h"
#include "json.h"
#include "promise_worker.h"
#include "results.h"

namespace {

// Of millions of tokens even the copy would hold up the main thread: JavaScript gets the vector's own memory.
Napi::Value givenInt32Array(Napi::Env env, std::vector<llama_token> && values) {
    if (values.empty()) return Napi::Int32Array::New(env, 0);
    auto owned = std::make_unique<std::vector<llama_token>>(std::move(values));
    const auto free = [](Napi::Env, void *, std::vector<llama_token> * vector) { delete vector; };
    const auto buffer = Napi::ArrayBuffer::New(env, owned->data(), owned->size() * sizeof(llama_token), free, owned.get());
    return Napi::Int32Array::New(env, owned.release()->size(), buffer, 0);
}

Napi::Value stringArray(Napi::Env env, const std::vector<std::string> & values) {
    auto array = Napi::Array::New(env, values.size());
    for (uint32_t i = 0; i < values.size(); i++) array.Set(i, values[i]);
    return array;
}

Napi::Value triggerArray(Napi::Env env, const std::vector<common_grammar_trigger> & triggers) {
    auto array = Napi::Array::New(env, triggers.size());
    for (uint32_t i = 0; i < triggers.size(); i++) {
        auto trigger = Napi::Object::New(env);
        trigger.Set("type", static_cast<int>(triggers[i].type));
        trigger.Set("value", triggers[i].value);
        trigger.Set("token", triggers[i].token);
        array.Set(i, trigger);
    }
    return array;
}

Napi::Value toJavaScript(Napi::Env env, RenderedChat & chat) {
    auto result = Napi::Object::New(env);
    result.Set("prompt", Napi::Buffer<char>::Copy(env, chat.params.prompt.data(), chat.params.prompt.size()));
    result.Set("tokens", givenInt32Array(env, std::move(chat.tokens)));
    result.Set("preservedTokens", int32Array(env, chat.preservedTokens));
    result.Set("supportsThinking", chat.params.supports_thinking);
    result.Set("thinkingStartTag", chat.params.thinking_start_tag);
    result.Set("thinkingEndTags", stringArray(env, chat.params.thinking_end_tags));
    result.Set("format", HeldFormat::hold(env, chat.format));
    result.Set("generationPrompt", chat.params.generation_prompt);
    result.Set("additionalStops", stringArray(env, chat.params.additional_stops));
    result.Set("grammar", chat.params.grammar);
    result.Set("lazy", chat.params.grammar_lazy);
    result.Set("triggers", triggerArray(env, chat.params.grammar_triggers));
    return result;
}

// Marks our own objects: unwrapping one of another class would be read as a Model.
constexpr napi_type_tag modelTag = { 0x6c6c616d61676775, 0x6d6f64656c000001 };

}  // namespace

Model * Model::from(const Napi::Value & value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&modelTag)) throw std::invalid_argument("this is no Model");
    return Unwrap(value.As<Napi::Object>());
}

void Model::define(Napi::Env env, Napi::Object exports) {
    exports.Set("Model", DefineClass(env, "Model", {
        InstanceMethod<&Model::describe>("describe"),
        InstanceMethod<&Model::pieces>("pieces"),
        InstanceMethod<&Model::endOfGenerationTokens>("endOfGenerationTokens"),
        InstanceMethod<&Model::tokenize>("tokenize"),
        InstanceMethod<&Model::loadChatTemplates>("loadChatTemplates"),
        InstanceMethod<&Model::renderChat>("renderChat"),
        InstanceMethod<&Model::schemaGrammar>("schemaGrammar"),
        InstanceMethod<&Model::loadAdapter>("loadAdapter"),
    }));
}

Model::Model(const Napi::CallbackInfo & info) : Napi::ObjectWrap<Model>(info) {
    const auto isAddonModel = [](const Napi::Value & value) {
        if (!value.IsObject()) return false;
        const auto maker = value.As<Napi::Object>().Get("constructor");
        return maker.IsFunction() && maker.As<Napi::Object>().Get("name").ToString().Utf8Value() == "AddonModel";
    };
    if (!isAddonModel(info[0])) throw std::invalid_argument("Model needs node-llama-cpp's native model object");
    const auto object = info[0].As<Napi::Object>();
    wrapped_ = Napi::ObjectWrap<AddonModel>::Unwrap(object);
    keepAlive_ = Napi::Persistent(object);
    tokenizer_ = std::make_unique<const Tokenizer>(vocab());
    info.This().As<Napi::Object>().TypeTag(&modelTag);
}

llama_model * Model::get() const {
    if (wrapped_->disposed || wrapped_->model == nullptr) throw std::runtime_error("the model has been disposed");
    return wrapped_->model;
}

std::shared_ptr<const TokenTexts> Model::tokenTexts() {
    const std::lock_guard lock(tokenTextsMutex_);
    if (!tokenTexts_) tokenTexts_ = std::make_shared<const TokenTexts>(vocab());
    return tokenTexts_;
}

Napi::Value Model::describe(const Napi::CallbackInfo & info) {
    const llama_model * model = get();
    auto result = Napi::Object::New(info.Env());
    result.Set("vocabType", static_cast<int>(llama_vocab_type(vocab())));
    result.Set("vocabSize", llama_vocab_n_tokens(vocab()));
    result.Set("trainContextTokens", llama_model_n_ctx_train(model));
    result.Set("embeddingLength", llama_model_n_embd(model));
    result.Set("parameters", static_cast<double>(llama_model_n_params(model)));
    result.Set("sizeBytes", static_cast<double>(llama_model_size(model)));
    result.Set("ftype", llama_ftype_name(llama_model_ftype(model)));
    result.Set("hasDecoder", llama_model_has_decoder(model));
    result.Set("hasEncoder", llama_model_has_encoder(model));
    const bool recurrent = llama_model_is_recurrent(model) || llama_model_is_hybrid(model);
    result.Set("recurrent", recurrent);
    result.Set("windowTokens", llama_model_n_swa(model));
    result.Set("bosToken", llama_vocab_bos(vocab()));
    result.Set("eosToken", llama_vocab_eos(vocab()));
    result.Set("fimPrefix", llama_vocab_fim_pre(vocab()));
    result.Set("fimSuffix", llama_vocab_fim_suf(vocab()));
    result.Set("fimMiddle", llama_vocab_fim_mid(vocab()));
    result.Set("fimRepository", llama_vocab_fim_rep(vocab()));
    result.Set("fimFile", llama_vocab_fim_sep(vocab()));
    return result;
}

// pieces(special) -> { bytes: Uint8Array, offsets: Uint32Array } : token i is bytes[offsets[i], offsets[i + 1]).
// special: control tokens as text; otherwise they are empty.
Napi::Value Model::pieces(const Napi::CallbackInfo & info) {
    const bool special = info[0].ToBoolean();
    const int32_t count = llama_vocab_n_tokens(vocab());
    std::string bytes;
    auto offsets = Napi::Uint32Array::New(info.Env(), count + 1);
    for (llama_token token = 0; token < count; token++) {
        offsets[token] = bytes.size();
        bytes += common_token_to_piece(vocab(), token, special);
    }
    offsets[count] = bytes.size();
    auto array = Napi::Uint8Array::New(info.Env(), bytes.size());
    std::copy(bytes.begin(), bytes.end(), array.Data());
    auto result = Napi::Object::New(info.Env());
    result.Set("bytes", array);
    result.Set("offsets", offsets);
    return result;
}

Napi::Value Model::endOfGenerationTokens(const Napi::CallbackInfo & info) {
    std::vector<llama_token> tokens;
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab()); token++) {
        if (llama_vocab_is_eog(vocab(), token)) tokens.push_back(token);
    }
    return int32Array(info.Env(), tokens);
}

// tokenize(text | slices, addSpecial, parseSpecial) -> Promise<Int32Array>, as llama-server tokenises.
Napi::Value Model::tokenize(const Napi::CallbackInfo & info) {
    get();
    return PromiseWorker<std::vector<llama_token>>::start(
        Value(),
        [words = tokenizer_.get(), text = textArgument(info[0]), special = info[1].ToBoolean().Value(),
         parse = info[2].ToBoolean().Value()] { return words->tokenize(text, special, parse); },
        [](Napi::Env env, std::vector<llama_token> & tokens) { return givenInt32Array(env, std::move(tokens)); });
}

// loadChatTemplates(source) : "" = the model's own, ChatML when it has none. -> { source, explicit, caps }
Napi::Value Model::loadChatTemplates(const Napi::CallbackInfo & info) {
    templates_ = std::make_shared<ChatTemplates>(get(), info[0].ToString().Utf8Value());
    auto result = Napi::Object::New(info.Env());
    result.Set("source", common_chat_templates_source(templates_->get()));
    result.Set("explicit", common_chat_templates_was_explicit(templates_->get()));
    auto caps = Napi::Object::New(info.Env());
    for (const auto & [name, value] : common_chat_templates_get_caps(templates_->get())) caps.Set(name, value);
    result.Set("caps", caps);
    return result;
}

// renderChat(requestJson | slices) -> Promise<{ prompt, tokens, preservedTokens, format, generationPrompt, grammar, ... }>
Napi::Value Model::renderChat(const Napi::CallbackInfo & info) {
    if (!templates_) throw std::logic_error("loadChatTemplates() has not been called");
    get();
    return PromiseWorker<RenderedChat>::start(
        Value(),
        [words = tokenizer_.get(), templates = templates_, request = textArgument(info[0])] {
            return renderChatPrompt(*templates, *words, request);
        },
        [](Napi::Env env, RenderedChat & chat) { return toJavaScript(env, chat); });
}

// schemaGrammar(schemaJson) -> Promise<string>: GBNF whose root takes what is valid against the schema.
Napi::Value Model::schemaGrammar(const Napi::CallbackInfo & info) {
    return PromiseWorker<std::string>::start(
        Value(), [schema = info[0].ToString().Utf8Value()] { return json_schema_to_grammar(common_json::parse(schema)); },
        [](Napi::Env env, std::string & grammar) { return Napi::String::New(env, grammar); });
}

// loadAdapter(path) -> Promise<number>: the adapter's place among the model's. One at a time, before there is a context.
Napi::Value Model::loadAdapter(const Napi::CallbackInfo & info) {
    return PromiseWorker<llama_adapter_lora *>::start(
        Value(), [model = get(), path = info[0].ToString().Utf8Value()] { return ::loadAdapter(model, path); },
        [this](Napi::Env env, llama_adapter_lora * & adapter) -> Napi::Value {
            adapters_.push_back(adapter);
            return Napi::Number::New(env, adapters_.size() - 1);
        });
}
