#include "pooling.h"

#include <array>
#include <set>

#include "common.h"

namespace {

// "" when the file does not say.
std::string metadata(const llama_model * model, const std::string & key) {
    std::array<char, 64> value{};
    return llama_model_meta_val_str(model, key.c_str(), value.data(), value.size()) < 0 ? "" : value.data();
}

// Architectures that llama.cpp gives no memory, or that attend to later tokens whatever the file says (create_memory in
// llama-model.cpp, load_arch_hparams of each).
const std::set<std::string> readers = { "bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert",
                                        "eurobert", "modern-bert", "gemma-embedding", "wavtokenizer-dec", "dream", "llada",
                                        "llada-moe", "rnd1" };

void append(std::vector<llama_token> & tokens, const std::vector<llama_token> & more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
}

}  // namespace

Pooling readPooling(const llama_model * model) {
    const std::string architecture = metadata(model, "general.architecture");
    const std::string type = metadata(model, architecture + ".pooling_type");
    Pooling pooling;
    if (type == "1") pooling.type = LLAMA_POOLING_TYPE_MEAN;
    if (type == "2") pooling.type = LLAMA_POOLING_TYPE_CLS;
    if (type == "3") pooling.type = LLAMA_POOLING_TYPE_LAST;
    if (type == "4") pooling.type = LLAMA_POOLING_TYPE_RANK;
    // llama.cpp ranks by the last token, and with a softmax, for these architectures only (build_pooling in llama-graph.cpp).
    const bool qwen = architecture == "qwen3" || architecture == "qwen3vl";
    const bool ranks = pooling.type == LLAMA_POOLING_TYPE_RANK;
    pooling.causal = !readers.contains(architecture) && metadata(model, architecture + ".attention.causal") != "false";
    pooling.splits = pooling.causal && (pooling.type == LLAMA_POOLING_TYPE_LAST || (ranks && qwen));
    pooling.probabilities = ranks && qwen;
    return pooling;
}

std::vector<llama_token> pairTokens(const llama_model * model, const std::string & query, const std::string & document) {
    const llama_vocab * vocab = llama_model_get_vocab(model);
    if (const char * form = llama_model_chat_template(model, "rerank")) {
        std::string prompt = form;
        string_replace_all(prompt, "{query}", query);
        string_replace_all(prompt, "{document}", document);
        return common_tokenize(vocab, prompt, false, true);
    }
    const llama_token separator = llama_vocab_sep(vocab);
    const llama_token end = llama_vocab_eos(vocab) == LLAMA_TOKEN_NULL ? separator : llama_vocab_eos(vocab);
    std::vector<llama_token> tokens;
    if (llama_vocab_get_add_bos(vocab)) tokens.push_back(llama_vocab_bos(vocab));
    append(tokens, common_tokenize(vocab, query, false, false));
    if (llama_vocab_get_add_eos(vocab)) tokens.push_back(end);
    if (llama_vocab_get_add_sep(vocab)) tokens.push_back(separator);
    append(tokens, common_tokenize(vocab, document, false, false));
    if (llama_vocab_get_add_eos(vocab)) tokens.push_back(end);
    return tokens;
}
