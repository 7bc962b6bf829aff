// The addon's exports. It must be loaded after node-llama-cpp's getLlama(): llama_* and ggml_* come from the backend it chose.
#include "answer_parser.h"
#include "common.h"
#include "context.h"
#include "draft_context.h"
#include "embedding_context.h"
#include "held_format.h"
#include "instance_data.h"
#include "log.h"
#include "model.h"
#include "napi.h"
#include "prepared_sampler.h"
#include "prompt_lookup.h"

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
    // What llama.cpp's helpers report here reaches the caller as errors; their own lines would bypass our log.
    common_log_set_verbosity_thold(LOG_LEVEL_OUTPUT);
    env.SetInstanceData(new InstanceData());
    Model::define(env, exports);
    Context::define(env, exports);
    PreparedSampler::define(env, exports);
    EmbeddingContext::define(env, exports);
    DraftContext::define(env, exports);
    PromptLookup::define(env, exports);
    HeldFormat::define(env);
    AnswerParser::define(env, exports);
    exports.Set("nodeLlamaCppVersion", NODE_LLAMA_CPP_VERSION);
    exports.Set("llamaCppTag", LLAMA_CPP_TAG);
    return exports;
}

NODE_API_MODULE(llama_gguf, initialize)
