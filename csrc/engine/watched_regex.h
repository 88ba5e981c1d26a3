// Regular expressions of <regex>, which match by recursion over the text: within the stack, and within a time.
//
// The algorithms of <regex> are templates over an iterator. Ours looks at the stack whenever a character is looked at,
// and counts. Compiling recurses over the pattern, and no more deeply than the pattern is long.
#pragma once

#include <cstdint>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "../core/thread_local.h"
#include "deep_stack.h"

namespace llamacffi {

struct regex_watch {
    char *floor = nullptr;    // no frame below this address
    uint64_t until_look = 1;  // how many characters until `look` is called
    uint64_t looks = 0;
};

extern LLAMACFFI_THREAD_LOCAL regex_watch watch;

// Whether to go on; throws where it is not.
void look();

inline void watch_step() {
    char here;
    if (&here < watch.floor) throw no_room();
    if (--watch.until_look == 0) look();
}

template <typename Char>
class watched {
  public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = Char;
    using difference_type = std::ptrdiff_t;
    using pointer = const Char *;
    using reference = const Char &;

    watched() = default;
    explicit watched(const Char *at) : at_(at) {}
    reference operator*() const {
        watch_step();
        return *at_;
    }
    watched &operator++() { return ++at_, *this; }
    watched &operator--() { return --at_, *this; }
    watched operator++(int) { return watched(at_++); }
    watched operator--(int) { return watched(at_--); }
    watched &operator+=(difference_type n) { return at_ += n, *this; }
    watched &operator-=(difference_type n) { return at_ -= n, *this; }
    watched operator+(difference_type n) const { return watched(at_ + n); }
    watched operator-(difference_type n) const { return watched(at_ - n); }
    difference_type operator-(watched other) const { return at_ - other.at_; }
    reference operator[](difference_type n) const { return at_[n]; }
    bool operator==(watched other) const {
        watch_step();
        return at_ == other.at_;
    }
    bool operator!=(watched other) const { return !(*this == other); }
    bool operator<(watched other) const { return at_ < other.at_; }

  private:
    const Char *at_ = nullptr;
};

// While one lives, expressions with so many states can be matched on this thread.
class watching {
  public:
    explicit watching(size_t states);
    ~watching();

  private:
    regex_watch before_;
};

using trigger_match = std::match_results<watched<char>>;

// Compile a trigger pattern; `pattern` of at most this many characters.
constexpr size_t longest_pattern = 65536;
std::regex compile_trigger(const std::string &pattern);

bool match_trigger(const std::string &pattern, const std::string &text, trigger_match &match, const std::regex &regex);
bool search_trigger(const std::string &pattern, const std::string &text, trigger_match &match, const std::regex &regex);

// The lengths of the matches of a tokenizer's expression in each piece of the text, and of what stands between them.
std::vector<size_t> split_text(const std::string &text, const std::string &regex, const std::vector<size_t> &pieces);
std::vector<size_t> split_text(const std::wstring &text, const std::wstring &regex, const std::vector<size_t> &pieces);

}  // namespace llamacffi
