// Compiled into ggml-cpu, with its options: what these options let the compiler use. Data alone, so that it can be read
// on any CPU.
#include "../core/cpu_features.h"

// Must be macros: a macro that is defined has become its value, one that is not is still its name, with its underscore.
#define LLAMACFFI_TEXT(text) #text
#define LLAMACFFI_USED(name, macro, ...) (LLAMACFFI_TEXT(macro)[0] != '_'),

static constexpr bool used[] = {LLAMACFFI_CPU_FEATURES(LLAMACFFI_USED) false};

static_assert(sizeof used <= 64, "more features than bits");

static constexpr uint64_t bits() {
    uint64_t found = 0;
    for (unsigned i = 0; i < sizeof used; ++i) found |= uint64_t{used[i]} << i % 64;
    return found;
}

extern constexpr uint64_t llamacffi_cpu_needs = bits();
