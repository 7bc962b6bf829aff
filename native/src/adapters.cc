#include "adapters.h"

#include <cmath>
#include <stdexcept>

namespace {

// While it lives, llama.cpp's log still goes where it went, and the last error is kept: llama.cpp returns no reasons.
class LastError {
  public:
    LastError() {
        llama_log_get(&before_, &beforeData_);
        llama_log_set(record, this);
    }
    ~LastError() { llama_log_set(before_, beforeData_); }
    LastError(const LastError &) = delete;
    LastError & operator=(const LastError &) = delete;

    std::string text() const {
        const auto end = text_.find_last_not_of(" \n");
        return text_.substr(0, end == std::string::npos ? 0 : end + 1);
    }

  private:
    static void record(ggml_log_level level, const char * text, void * data) {
        auto * self = static_cast<LastError *>(data);
        if (level == GGML_LOG_LEVEL_ERROR) self->text_ = text;
        if (self->before_ != nullptr) self->before_(level, text, self->beforeData_);
    }

    ggml_log_callback before_ = nullptr;
    void * beforeData_ = nullptr;
    std::string text_;
};

}  // namespace

llama_adapter_lora * loadAdapter(llama_model * model, const std::string & path) {
    const LastError error;
    llama_adapter_lora * adapter = llama_adapter_lora_init(model, path.c_str());
    if (adapter == nullptr) throw std::runtime_error(error.text().empty() ? "llama.cpp gives no reason" : error.text());
    return adapter;
}

std::vector<float> parseScales(const Napi::Value & value, size_t adapters) {
    if (!value.IsArray() || value.As<Napi::Array>().Length() != adapters) {
        throw std::invalid_argument("expected one scale for each of " + std::to_string(adapters) + " adapters");
    }
    const auto array = value.As<Napi::Array>();
    std::vector<float> scales;
    for (uint32_t i = 0; i < adapters; i++) {
        const Napi::Value scale = array.Get(i);
        if (!scale.IsNumber() || !std::isfinite(scale.As<Napi::Number>().FloatValue())) throw std::out_of_range("a scale is not a number");
        scales.push_back(scale.As<Napi::Number>().FloatValue());
    }
    return scales;
}

void applyAdapters(llama_context * context, const std::vector<llama_adapter_lora *> & adapters, std::vector<float> scales) {
    auto loaded = adapters;
    llama_set_adapters_lora(context, loaded.data(), loaded.size(), scales.data());
}
