// How many items or bytes: a number that stops at the ends of its range, where a C type would wrap around.
//
// The formulas of bindgen/policy.toml are computed in it.
#pragma once

#include <cstdint>

namespace llamacffi {

class extent {
  public:
    constexpr explicit extent(long long value) : value_(value) {}

    constexpr long long value() const { return value_; }

    // More than any buffer holds and any machine has.
    static constexpr extent endless() { return extent(INT64_MAX); }

  private:
    long long value_;
};

constexpr extent operator+(extent a, extent b) {
    if (b.value() > 0 && a.value() > INT64_MAX - b.value()) return extent(INT64_MAX);
    if (b.value() < 0 && a.value() < INT64_MIN - b.value()) return extent(INT64_MIN);
    return extent(a.value() + b.value());
}

constexpr extent operator-(extent a, extent b) {
    return b.value() == INT64_MIN ? extent(INT64_MAX) : a + extent(-b.value());
}

constexpr unsigned long long magnitude(extent a) {
    return a.value() < 0 ? 0 - static_cast<unsigned long long>(a.value()) : static_cast<unsigned long long>(a.value());
}

constexpr extent operator*(extent a, extent b) {
    if (!a.value() || !b.value()) return extent(0);
    const bool negative = (a.value() < 0) != (b.value() < 0);
    if (magnitude(a) > INT64_MAX / magnitude(b)) return extent(negative ? INT64_MIN : INT64_MAX);
    const long long product = static_cast<long long>(magnitude(a) * magnitude(b));
    return extent(negative ? -product : product);
}

// What is parted into nothing is without end.
constexpr extent operator/(extent a, extent b) {
    if (!b.value() || (a.value() == INT64_MIN && b.value() == -1)) return extent::endless();
    return extent(a.value() / b.value());
}

}  // namespace llamacffi
