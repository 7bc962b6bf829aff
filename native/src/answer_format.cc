#include "answer_format.h"

#include <algorithm>
#include <variant>

#include "chat-peg-parser.h"

namespace {

using Builder = common_chat_peg_builder;

constexpr size_t leastMargin = 64;

template <typename... F> struct Overloaded : F... { using F::operator()...; };
template <typename... F> Overloaded(F...) -> Overloaded<F...>;

// How many stretches up to a mark a parser holds, or that it holds something else than these, short literals and single characters.
constexpr int notPlain = 2;
// Deeper than any parser of plain text nests.
constexpr int maxDepth = 16;

int stretches(const common_peg_arena & arena, common_peg_parser_id id, int depth = 0) {
    if (depth > maxDepth) return notPlain;
    const auto of = [&](common_peg_parser_id child) { return stretches(arena, child, depth + 1); };
    return std::visit(Overloaded {
        [](const common_peg_until_parser &) { return 1; },
        [](const common_peg_epsilon_parser &) { return 0; },
        [](const common_peg_end_parser &) { return 0; },
        [](const common_peg_any_parser &) { return 0; },
        [](const common_peg_not_parser &) { return 0; },
        [](const common_peg_literal_parser & p) { return p.literal.size() <= leastMargin / 2 ? 0 : notPlain; },
        [&](const common_peg_sequence_parser & p) {
            int sum = 0;
            for (const auto child : p.children) sum += of(child);
            return sum;
        },
        [&](const common_peg_choice_parser & p) {
            int most = 0;
            for (const auto child : p.children) most = std::max(most, of(child));
            return most;
        },
        [&](const common_peg_repetition_parser & p) { return p.max_count == 1 ? of(p.child) : notPlain; },
        [&](const common_peg_rule_parser & p) { return of(p.child); },
        [&](const common_peg_ref_parser & p) { return of(arena.get_rule(p.name)); },
        [&](const common_peg_atomic_parser & p) { return of(p.child); },
        [&](const common_peg_tag_parser & p) { return of(p.child); },
        [&](const common_peg_gbnf_parser & p) { return of(p.child); },
        [&](const common_peg_ac_parser & p) { return of(p.child); },
        [](const auto &) { return notPlain; },
    }, arena.get(id));
}

// Of those that become part of the message as they stand, or character by character.
std::set<std::string> plainTags(const common_peg_arena & arena) {
    std::set<std::string> plain = { Builder::CONTENT, Builder::REASONING, Builder::TOOL_ARG_STRING_VALUE };
    for (common_peg_parser_id id = 0; id < arena.size(); id++) {
        const auto * tag = std::get_if<common_peg_tag_parser>(&arena.get(id));
        if (tag && stretches(arena, tag->child) >= notPlain) plain.erase(tag->tag);
    }
    return plain;
}

size_t longestMark(const common_peg_arena & arena) {
    size_t longest = 0;
    for (common_peg_parser_id id = 0; id < arena.size(); id++) {
        const auto * until = std::get_if<common_peg_until_parser>(&arena.get(id));
        if (!until) continue;
        for (const auto & mark : until->delimiters) longest = std::max(longest, mark.size());
    }
    return longest;
}

common_peg_arena load(const std::string & parser) {
    common_peg_arena arena;
    if (!parser.empty()) arena.load(parser);
    return arena;
}

}  // namespace

AnswerFormat::AnswerFormat(common_chat_format format, const std::string & saved) :
    format(format), parser(load(saved)), plainTags(::plainTags(parser)), margin(std::max(leastMargin, longestMark(parser))) {}
