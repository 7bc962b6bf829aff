#include "token_texts.h"

#include <algorithm>

#include "common.h"

TokenTexts::TokenTexts(const llama_vocab * vocab) {
    const int32_t count = llama_vocab_n_tokens(vocab);
    for (llama_token token = 0; token < count; token++) {
        offsets_.push_back(bytes_.size());
        bytes_ += common_token_to_piece(vocab, token, true).c_str();
        ends_.push_back(llama_vocab_is_eog(vocab, token));
    }
    offsets_.push_back(bytes_.size());

    for (llama_token token = 0; token < count; token++) {
        if (!ends_[token] && !text(token).empty()) sorted_.push_back({ token, 0 });
    }
    std::sort(sorted_.begin(), sorted_.end(), [this](const Entry & a, const Entry & b) { return text(a.token) < text(b.token); });
    std::string_view before;
    for (auto & entry : sorted_) {
        const auto own = text(entry.token);
        const auto length = std::min(own.size(), before.size());
        entry.shared = std::mismatch(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(length), before.begin()).first - own.begin();
        longest_ = std::max(longest_, own.size());
        before = own;
    }
}
