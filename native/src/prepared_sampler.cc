#include "prepared_sampler.h"

#include <stdexcept>

#include "instance_data.h"
#include "model.h"
#include "promise_worker.h"
#include "settings.h"

void PreparedSampler::define(Napi::Env env, Napi::Object exports) {
    env.GetInstanceData<InstanceData>()->preparedSamplerClass = Napi::Persistent(DefineClass(env, "PreparedSampler", {}));
    exports.Set("prepareSampler", Napi::Function::New<&PreparedSampler::prepare>(env, "prepareSampler"));
}

PreparedSampler::PreparedSampler(const Napi::CallbackInfo & info) : Napi::ObjectWrap<PreparedSampler>(info) {
    if (!info[0].IsExternal()) throw std::invalid_argument("use prepareSampler()");
    sampler_ = std::move(*info[0].As<Napi::External<std::unique_ptr<Sampler>>>().Data());
}

std::unique_ptr<Sampler> PreparedSampler::take() {
    if (!sampler_) throw std::logic_error("this sampler was used already");
    return std::move(sampler_);
}

Napi::Value PreparedSampler::prepare(const Napi::CallbackInfo & info) {
    Model * model = Model::from(info[0]);
    const auto modelObject = info[0].As<Napi::Object>();
    auto params = parseSampling(info[1].As<Napi::Object>(), llama_vocab_n_tokens(model->vocab()));
    parseConstraint(info[2].As<Napi::Object>(), model->vocab(), params);
    using Handle = std::shared_ptr<std::unique_ptr<Sampler>>;
    return PromiseWorker<Handle>::start(
        modelObject,
        [model, llama = model->get(), params] {
            auto texts = params.grammar.empty() ? nullptr : model->tokenTexts();
            return std::make_shared<std::unique_ptr<Sampler>>(std::make_unique<Sampler>(llama, params, std::move(texts)));
        },
        [](Napi::Env env, Handle & handle) -> Napi::Value {
            auto & preparedSamplerClass = env.GetInstanceData<InstanceData>()->preparedSamplerClass;
            return preparedSamplerClass.New({ Napi::External<std::unique_ptr<Sampler>>::New(env, handle.get()) });
        });
}
