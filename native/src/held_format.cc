#include "held_format.h"

#include <stdexcept>
#include <utility>

#include "instance_data.h"

namespace {

// Marks our own objects: unwrapping one of another class would be read as a HeldFormat.
constexpr napi_type_tag formatTag = { 0x6c6c616d61676775, 0x666f726d61740001 };

}  // namespace

void HeldFormat::define(Napi::Env env) {
    env.GetInstanceData<InstanceData>()->heldFormatClass = Napi::Persistent(DefineClass(env, "AnswerFormat", {}));
}

Napi::Value HeldFormat::hold(Napi::Env env, std::shared_ptr<const AnswerFormat> format) {
    auto & heldFormatClass = env.GetInstanceData<InstanceData>()->heldFormatClass;
    return heldFormatClass.New({ Napi::External<std::shared_ptr<const AnswerFormat>>::New(env, &format) });
}

HeldFormat::HeldFormat(const Napi::CallbackInfo & info) : Napi::ObjectWrap<HeldFormat>(info) {
    if (!info[0].IsExternal()) throw std::invalid_argument("use renderChat()");
    format_ = std::move(*info[0].As<Napi::External<std::shared_ptr<const AnswerFormat>>>().Data());
    info.This().As<Napi::Object>().TypeTag(&formatTag);
}

std::shared_ptr<const AnswerFormat> HeldFormat::from(const Napi::Value & value) {
    const bool right = value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&formatTag);
    if (!right) throw std::invalid_argument("this is no answer format");
    return Unwrap(value.As<Napi::Object>())->format_;
}
