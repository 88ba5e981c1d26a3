// Included before mtmd's sources, in whose copies checked_tensors.py puts these in the place of pointers and vectors.
// What is refused is thrown in media_calls.cpp.
#pragma once

#include <cstddef>
#include <exception>
#include <type_traits>
#include <vector>

#include "ggml.h"

struct clip_ctx;
void clip_free(clip_ctx *ctx);  // of clip.h

namespace llamacffi {

[[noreturn]] void lack_tensor();
[[noreturn]] void look_beyond_tensor();
[[noreturn]] void divide_by_zero();

// A pointer to a tensor: NULL, for one that the file lacks, may be asked for and handed on, but not used.
class tensor {
  public:
    tensor(ggml_tensor *there = nullptr) : there(there) {}

    explicit operator bool() const { return there; }
    bool operator==(std::nullptr_t) const { return !there; }
    bool operator!=(std::nullptr_t) const { return there; }
    ggml_tensor *or_null() const { return there; }

    operator ggml_tensor *() const { return used(); }
    ggml_tensor *operator->() const { return used(); }

  private:
    ggml_tensor *used() const {
        if (!there) lack_tensor();
        return there;
    }

    ggml_tensor *there;
};

// What a function of ggml made. Of a view ggml asserts only that it is no larger than what it looks at.
inline tensor made(ggml_tensor *result) {
    if (result && result->op == GGML_OP_VIEW && result->view_offs + ggml_nbytes(result) > ggml_nbytes(result->view_src))
        look_beyond_tensor();
    return result;
}

// What loading makes, and hands out in the end; what leaves it before, an exception or a failed assertion, frees it.
class owned_clip {
  public:
    owned_clip &operator=(clip_ctx *made) {
        there = made;
        return *this;
    }
    ~owned_clip() {
        if (std::uncaught_exceptions() > outer) clip_free(there);
    }

    operator clip_ctx *() const { return there; }
    clip_ctx *operator->() const { return there; }

  private:
    clip_ctx *there = nullptr;
    int outer = std::uncaught_exceptions();
};

template <typename T>
class list : public std::vector<T> {
  public:
    using std::vector<T>::vector;
    using std::vector<T>::operator=;
    T &operator[](std::size_t index) { return this->at(index); }
    const T &operator[](std::size_t index) const { return this->at(index); }
};

// `a / checked * b` is the division, `a % checked * b` the remainder, and `a /= checked << b` what it looks like: what
// stands behind the sign ends where it ended.
constexpr struct checked_division {
} checked;

template <typename T, bool is_remainder>
struct dividend {
    T number;
};

template <typename T>
struct divisor {
    T number;
};

template <typename T, typename U>
constexpr U divides(U lower) {
    if constexpr (std::is_integral_v<T> && std::is_integral_v<U>)
        if (lower == 0) divide_by_zero();
    return lower;
}

template <typename T>
constexpr dividend<T, false> operator/(T upper, checked_division) {
    return {upper};
}

template <typename T>
constexpr dividend<T, true> operator%(T upper, checked_division) {
    return {upper};
}

template <typename T, typename U>
constexpr auto operator*(dividend<T, false> upper, U lower) {
    return upper.number / divides<T>(lower);
}

template <typename T, typename U>
constexpr auto operator*(dividend<T, true> upper, U lower) {
    return upper.number % divides<T>(lower);
}

template <typename T>
constexpr divisor<T> operator<<(checked_division, T lower) {
    return {lower};
}

template <typename T, typename U>
constexpr T &operator/=(T &upper, divisor<U> lower) {
    return upper /= divides<T>(lower.number);
}

template <typename T, typename U>
constexpr T &operator%=(T &upper, divisor<U> lower) {
    return upper %= divides<T>(lower.number);
}

}  // namespace llamacffi

// ---------------------------------------------------------------- functions of ggml that take NULL, or an array

inline ggml_tensor *ggml_soft_max_ext(ggml_context *context, ggml_tensor *a, llamacffi::tensor mask, float scale,
                                      float max_bias) {
    return ggml_soft_max_ext(context, a, mask.or_null(), scale, max_bias);
}

inline ggml_tensor *ggml_flash_attn_ext(ggml_context *context, ggml_tensor *q, ggml_tensor *k, ggml_tensor *v,
                                        llamacffi::tensor mask, float scale, float max_bias, float softcap) {
    return ggml_flash_attn_ext(context, q, k, v, mask.or_null(), scale, max_bias, softcap);
}

inline ggml_tensor *ggml_build_forward_select(ggml_cgraph *graph, llamacffi::tensor *tensors, int count, int index) {
    std::vector<ggml_tensor *> pointers(tensors, tensors + count);
    return ggml_build_forward_select(graph, pointers.data(), count, index);
}

#include "made_tensors.h"
