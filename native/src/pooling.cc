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

// A form is one text: what stands before the document can become other tokens with it than alone.
std::vector<llama_token> filledIn(const Tokenizer & tokenizer, const char * form, const std::string & query,
                                  const std::string & document) {
    std::string prompt = form;
    string_replace_all(prompt, "{query}", query);
    string_replace_all(prompt, "{document}", document);
    return tokenizer.tokenize(prompt, false, true);
}

llama_token endMark(const llama_vocab * vocab) {
    return llama_vocab_eos(vocab) == LLAMA_TOKEN_NULL ? llama_vocab_sep(vocab) : llama_vocab_eos(vocab);
}

std::vector<llama_token> queryTokens(const llama_model * model, const Tokenizer & tokenizer, const std::string & query) {
    const llama_vocab * vocab = llama_model_get_vocab(model);
    std::vector<llama_token> tokens;
    if (llama_vocab_get_add_bos(vocab)) tokens.push_back(llama_vocab_bos(vocab));
    append(tokens, tokenizer.tokenize(query, false, false));
    if (llama_vocab_get_add_eos(vocab)) tokens.push_back(endMark(vocab));
    if (llama_vocab_get_add_sep(vocab)) tokens.push_back(llama_vocab_sep(vocab));
    return tokens;
}

std::vector<llama_token> withDocument(const llama_model * model, const Tokenizer & tokenizer, std::vector<llama_token> tokens,
                                      const std::string & document) {
    const llama_vocab * vocab = llama_model_get_vocab(model);
    append(tokens, tokenizer.tokenize(document, false, false));
    if (llama_vocab_get_add_eos(vocab)) tokens.push_back(endMark(vocab));
    return tokens;
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

std::vector<std::vector<llama_token>> pairTokens(const llama_model * model, const Tokenizer & tokenizer, const std::string & query,
                                                 const std::vector<std::string> & documents, size_t maxTokens) {
    const char * form = llama_model_chat_template(model, "rerank");
    const auto begun = form == nullptr ? queryTokens(model, tokenizer, query) : std::vector<llama_token>();
    std::vector<std::vector<llama_token>> pairs;
    for (const std::string & document : documents) {
        pairs.push_back(form == nullptr ? withDocument(model, tokenizer, begun, document)
                                        : filledIn(tokenizer, form, query, document));
        if (pairs.back().size() > maxTokens) break;
    }
    return pairs;
}
