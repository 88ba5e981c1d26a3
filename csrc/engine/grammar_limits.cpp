// See grammar_limits.h.
#include "grammar_limits.h"

#include <algorithm>
#include <limits>
#include <set>

namespace llamacffi {

namespace {

constexpr size_t most_grammar_bytes = size_t{256} << 20;
constexpr size_t bytes_an_element = 3 * sizeof(llama_grammar_element);  // parsed, copied, and copied by a clone
constexpr size_t bytes_a_rule = 160;                                    // its name's node and its vector

constexpr size_t bytes_a_group = 2048;  // of stack: 1,392 with gcc 12's -O2
constexpr size_t most_stacks = 32'768;  // llama.cpp compares each with each
constexpr size_t most_elements = size_t{1} << 23;
constexpr size_t units_a_stack = 16;               // what one costs beside its elements
constexpr uint64_t most_work = uint64_t{1} << 30;  // some ten seconds
constexpr uint64_t work_a_look = uint64_t{1} << 20;

constexpr char too_deep[] = "grammar_str nests its parentheses too deeply: they would take more than 256 MiB of stack";
constexpr char token_too_long[] = "the vocabulary has a token that is too long for a grammar";

thread_local size_t grammar_bytes = 0;
thread_local uint64_t work = 0, next_look = work_a_look;

void count_bytes(size_t bytes) {
    grammar_bytes += bytes;
    if (grammar_bytes > most_grammar_bytes)
        throw refused_text{"grammar_str repeats or names so much that its rules would take more than 256 MiB"};
}

bool is_end(const llama_grammar_element &element) {
    return element.type == LLAMA_GRETYPE_END || element.type == LLAMA_GRETYPE_ALT;
}

}  // namespace

// ---------------------------------------------------------------- parsing

const char *begin_grammar(const char *text) {
    grammar_bytes = 0;
    begin_work();
    return text;
}

const std::string &counted_name(const std::string &name) {
    count_bytes(name.size() + bytes_a_rule);
    return name;
}

void check_repetition(size_t elements, uint64_t least, uint64_t most) {
    constexpr uint64_t endless = std::numeric_limits<uint64_t>::max();
    if (most < least)
        throw refused_text{"grammar_str repeats from " + std::to_string(least) + " to " + std::to_string(most) +
                           " times, which is fewer"};
    const uint64_t copies = std::max(least, most == endless ? 1 : most) + 1;
    if (copies > most_grammar_bytes / ((elements + 2) * bytes_an_element)) count_bytes(most_grammar_bytes + 1);
    count_bytes(copies * (elements + 2) * bytes_an_element);
}

const char *parse_deeper(llama_grammar_parser &parser, const char *text, const std::string &name, uint32_t rule,
                         bool is_nested) {
    return with_room(stack_margin + bytes_a_group, too_deep,
                     [&] { return parser.parse_alternates(text, name, rule, is_nested); });
}

// ---------------------------------------------------------------- rules

namespace {

// A rule whose left ends are being followed, and how far.
struct followed {
    size_t rule;
    size_t at = 0;
    bool is_left = true;  // all before `at` may be empty
};

bool has_empty_alternate(const llama_grammar_rule &rule) {
    bool at_start = true;
    for (const llama_grammar_element &element : rule) {
        if (is_end(element) && at_start) return true;
        at_start = is_end(element);
    }
    return false;
}

struct left_search {
    const llama_grammar_rules &rules;
    std::vector<bool> &visited, &in_progress, &may_be_empty;
    std::vector<followed> path;

    void enter(size_t rule) {
        in_progress[rule] = true;
        if (has_empty_alternate(rules[rule])) may_be_empty[rule] = true;
        path.push_back({rule});
    }

    void leave() {
        in_progress[path.back().rule] = false;
        visited[path.back().rule] = true;
        path.pop_back();
    }

    // Take the next element of the last rule; false where that is the rule's own left end again.
    bool step() {
        followed &last = path.back();
        if (last.at == rules[last.rule].size()) return leave(), true;
        const llama_grammar_element &element = rules[last.rule][last.at++];
        if (element.type != LLAMA_GRETYPE_RULE_REF || !last.is_left) {
            last.is_left = is_end(element);
            return true;
        }
        if (in_progress[element.value]) return false;
        if (!visited[element.value]) {
            --last.at;  // again, when it is known whether the other may be empty
            return enter(element.value), true;
        }
        last.is_left = may_be_empty[element.value];
        return true;
    }
};

}  // namespace

bool detect_left_recursion(const llama_grammar_rules &rules, size_t index, std::vector<bool> *visited,
                           std::vector<bool> *in_progress, std::vector<bool> *may_be_empty) {
    left_search search{rules, *visited, *in_progress, *may_be_empty, {}};
    search.enter(index);
    while (!search.path.empty()) {
        if (!search.step()) return true;
    }
    return false;
}

// ---------------------------------------------------------------- stacks

void begin_work() {
    work = 0;
    next_look = work_a_look;
}

void spend(size_t units) {
    work += units;
    if (work < next_look) return;
    next_look = work + work_a_look;
    if (work > most_work) throw refused_text{"the grammar is too ambiguous: it takes more than 2^30 steps for a token"};
    if (asked_to_stop()) throw refused_text{"the grammar was stopped"};
}

namespace {

struct by_elements {
    bool operator()(const llama_grammar_stack &a, const llama_grammar_stack &b) const {
        return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), std::less<>());
    }
};

class advancing {
  public:
    advancing(const llama_grammar_rules &rules, llama_grammar_stacks &found)
        : rules_(rules), found_(found), n_before_(static_cast<std::ptrdiff_t>(found.size())) {
        for (const llama_grammar_stack &one : found) held_ += one.size();
    }

    void add(llama_grammar_stack stack) {
        hold(stack);
        todo_.push_back(std::move(stack));
    }

    void run() {
        while (!todo_.empty()) {
            const auto [stack, is_new] = seen_.insert(std::move(todo_.back()));
            todo_.pop_back();
            if (is_new) take(*stack);
        }
    }

  private:
    void hold(const llama_grammar_stack &stack) {
        held_ += stack.size() + units_a_stack;
        spend(stack.size() + units_a_stack);
        if (held_ > most_elements || found_.size() > most_stacks)
            throw refused_text{"the grammar is too ambiguous, or begins with itself: it has too many ways to go on"};
    }

    void take(const llama_grammar_stack &stack) {
        if (!stack.empty() && stack.back()->type == LLAMA_GRETYPE_RULE_REF) return expand(stack);
        spend(static_cast<size_t>(n_before_) * (stack.size() / units_a_stack + 1));
        const auto before = found_.begin() + n_before_;
        if (std::find(found_.begin(), before, stack) != before) return;
        hold(stack);
        found_.push_back(stack);
    }

    // Each alternate of the rule that stands on top, in its place.
    void expand(const llama_grammar_stack &stack) {
        const llama_grammar_element *const top = stack.back();
        for (const llama_grammar_element *at = rules_[top->value].data();; ++at) {
            llama_grammar_stack next(stack.begin(), stack.end() - 1);
            if (!is_end(top[1])) next.push_back(top + 1);
            if (!is_end(*at)) next.push_back(at);
            add(std::move(next));
            while (!is_end(*at)) ++at;
            if (at->type == LLAMA_GRETYPE_END) return;
        }
    }

    const llama_grammar_rules &rules_;
    llama_grammar_stacks &found_;
    const std::ptrdiff_t n_before_;  // how many came out of other stacks
    llama_grammar_stacks todo_;
    std::set<llama_grammar_stack, by_elements> seen_;
    size_t held_ = 0;
};

}  // namespace

void advance_stack(const llama_grammar_rules &rules, const llama_grammar_stack &stack, llama_grammar_stacks &found) {
    advancing own(rules, found);
    own.add(stack);
    own.run();
}

llama_grammar_candidates reject_deeper(reject_function reject, const llama_grammar_rules &rules,
                                       const llama_grammar_stacks &stacks, const llama_grammar_candidates &candidates) {
    spend(stacks.size() * (candidates.size() + 1));
    return with_room(stack_margin, token_too_long, [&] { return reject(rules, stacks, candidates); });
}

llama_grammar_candidates reject_first(reject_function reject, const llama_grammar_rules &rules,
                                      const llama_grammar_stacks &stacks, const llama_grammar_candidates &candidates) {
    begin_work();
    return reject_deeper(reject, rules, stacks, candidates);
}

namespace {

// The rules by the address of their first element, to find the one that an element belongs to.
std::vector<std::pair<const llama_grammar_element *, size_t>> rules_by_address(const llama_grammar_rules &rules) {
    std::vector<std::pair<const llama_grammar_element *, size_t>> sorted;
    for (size_t i = 0; i < rules.size(); ++i) sorted.emplace_back(rules[i].data(), i);
    std::sort(sorted.begin(), sorted.end(), [](auto a, auto b) { return std::less<>()(a.first, b.first); });
    return sorted;
}

}  // namespace

}  // namespace llamacffi

llama_grammar *llama_grammar_clone_impl(const llama_grammar &grammar) {
    auto *copy = new llama_grammar(grammar);
    const auto sorted = llamacffi::rules_by_address(grammar.rules);
    for (llama_grammar_stack &stack : copy->stacks) {
        for (const llama_grammar_element *&element : stack) {
            const auto next = std::upper_bound(sorted.begin(), sorted.end(), element,
                                               [](auto *at, auto one) { return std::less<>()(at, one.first); });
            const auto [first, rule] = *(next - 1);
            element = copy->rules[rule].data() + (element - first);
        }
    }
    return copy;
}
