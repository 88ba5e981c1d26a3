// See watched_regex.h.
#include "watched_regex.h"

#include <algorithm>

namespace llamacffi {

LLAMACFFI_THREAD_LOCAL regex_watch watch;

namespace {

constexpr uint64_t characters_a_look = uint64_t{1} << 20;
constexpr uint64_t most_looks = 2048;  // 2^31 characters, some fifteen seconds

// libstdc++ has at most 100,000 states in an expression, and needs less than these for one of them.
constexpr size_t most_states = 100'000;
constexpr size_t bytes_a_state = 320;
#ifdef __SANITIZE_ADDRESS__  // whose frames are larger
constexpr size_t bytes_a_character = 8192;
#else
constexpr size_t bytes_a_character = 1024;  // to compile: 208 with gcc 12's -O2
#endif
constexpr size_t tokenizer_states = 2000;

constexpr char pattern_too_deep[] = "a trigger pattern nests too deeply";
constexpr char text_too_deep[] =
    "the text since the start is too long for a trigger pattern: it would take more than 256 MiB of stack";
constexpr char text_too_long[] =
    "text has too long a run for the tokenizer's regular expression: it would take more than 256 MiB of stack";

// Without `{n}`, which repeats states, an expression has no more states than a few for each character.
size_t states_of(const std::string &pattern) {
    for (size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '\\')
            ++i;
        else if (pattern[i] == '{')
            return most_states;
    }
    return std::min(most_states, 4 * pattern.size());
}

template <typename Find>
bool find_trigger(const std::string &pattern, const std::string &text, Find find) {
    const watched<char> begin(text.data()), end(text.data() + text.size());
    return with_enough_room(text_too_deep, [&] {
        const watching own(states_of(pattern));
        return find(begin, end);
    });
}

template <typename Char>
void split_piece(watched<Char> begin, watched<Char> end, const std::basic_regex<Char> &regex,
                 std::vector<size_t> &lengths) {
    using matches = std::regex_iterator<watched<Char>>;
    std::ptrdiff_t done = 0;
    for (matches one(begin, end, regex); one != matches(); ++one) {
        if (one->position() > done) lengths.push_back(static_cast<size_t>(one->position() - done));
        lengths.push_back(static_cast<size_t>(one->length()));
        done = one->position() + one->length();
    }
    if (done < end - begin) lengths.push_back(static_cast<size_t>(end - begin - done));
}

template <typename Char>
std::vector<size_t> split(const std::basic_string<Char> &text, const std::basic_string<Char> &regex,
                          const std::vector<size_t> &pieces) {
    const watching own(tokenizer_states);
#ifdef _MSC_VER
    const std::basic_regex<Char> compiled(regex);  // whose `nosubs` does not match: llama.cpp's issue 17830
#else
    const std::basic_regex<Char> compiled(regex, std::regex_constants::optimize | std::regex_constants::nosubs);
#endif
    std::vector<size_t> lengths;
    watched<Char> at(text.data());
    for (const size_t piece : pieces) {
        const watched<Char> end = at + static_cast<std::ptrdiff_t>(piece);
        split_piece(at, end, compiled, lengths);
        at = end;
    }
    return lengths;
}

}  // namespace

void look() {
    watch.until_look = characters_a_look;
    if (++watch.looks > most_looks)
        throw refused_text{"a regular expression of the tokenizer or a trigger looks at more than 2^31 characters"};
    if (asked_to_stop()) throw refused_text{"a regular expression was stopped"};
}

watching::watching(size_t states) : before_(watch) {
    const size_t margin = stack_margin + states * bytes_a_state;
    if (stack_left() < margin) throw no_room();
    watch = {lowest_of_stack() + margin, characters_a_look, 0};
}

watching::~watching() { watch = before_; }

std::regex compile_trigger(const std::string &pattern) {
    if (pattern.size() > longest_pattern) throw refused_text{"a trigger pattern is longer than 65536 characters"};
    return with_room(stack_margin + pattern.size() * bytes_a_character, pattern_too_deep,
                     [&] { return std::regex(pattern); });
}

bool match_trigger(const std::string &pattern, const std::string &text, trigger_match &match, const std::regex &regex) {
    return find_trigger(pattern, text,
                        [&](auto begin, auto end) { return std::regex_match(begin, end, match, regex); });
}

bool search_trigger(const std::string &pattern, const std::string &text, trigger_match &match,
                    const std::regex &regex) {
    return find_trigger(pattern, text,
                        [&](auto begin, auto end) { return std::regex_search(begin, end, match, regex); });
}

std::vector<size_t> split_text(const std::string &text, const std::string &regex, const std::vector<size_t> &pieces) {
    return with_enough_room(text_too_long, [&] { return split(text, regex, pieces); });
}

std::vector<size_t> split_text(const std::wstring &text, const std::wstring &regex, const std::vector<size_t> &pieces) {
    return with_enough_room(text_too_long, [&] { return split(text, regex, pieces); });
}

}  // namespace llamacffi
