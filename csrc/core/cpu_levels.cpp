// See cpu_levels.h. Where there are several levels, each public function of ggml-cpu is a stub that jumps through the
// table of the chosen one: csrc/cpu_levels.py makes stubs and tables.
#include "core/cpu_levels.h"

#include <cstdlib>
#include <iterator>
#include <string>

#include "core/cpu_features.h"

#if defined(_MSC_VER)
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

struct cpu_level {
    const char *name;
    const uint64_t *needs;
    const void *functions;
};

#ifdef LLAMACFFI_CPU_LEVEL
static const cpu_level llamacffi_cpu_levels[] = {{LLAMACFFI_CPU_LEVEL, &llamacffi_cpu_needs, nullptr}, {}};
[[maybe_unused]] static const void *llamacffi_cpu_functions;
#else
extern "C" const cpu_level llamacffi_cpu_levels[];  // best first; one without a name ends them
extern "C" const void *llamacffi_cpu_functions;     // where the stubs look
#endif

namespace llamacffi {

namespace {

const cpu_level *chosen = nullptr;
std::string reason;

// ---------------------------------------------------------------- what this CPU has

#if defined(__x86_64__) || defined(_M_X64)

struct registers {
    unsigned values[4];
};

registers cpuid(unsigned leaf, unsigned subleaf) {
    registers found = {};
#ifdef _MSC_VER
    int values[4];
    __cpuid(values, leaf & 0x80000000);
    if (static_cast<unsigned>(values[0]) < leaf) return found;
    __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
    for (int i = 0; i < 4; ++i) found.values[i] = static_cast<unsigned>(values[i]);
#else
    unsigned *const values = found.values;
    __get_cpuid_count(leaf, subleaf, &values[0], &values[1], &values[2], &values[3]);
#endif
    return found;
}

// What the system saves of a thread: without it the CPU's registers are there, and using them is an illegal
// instruction.
uint64_t saved_state() {
    const bool has_xgetbv = cpuid(1, 0).values[LLAMACFFI_ECX] >> 27 & 1;
    if (!has_xgetbv) return 0;
#ifdef _MSC_VER
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
#endif
}

bool has(unsigned leaf, unsigned subleaf, int in, int bit, uint64_t state) {
    return (cpuid(leaf, subleaf).values[in] >> bit & 1) && (saved_state() & state) == state;
}

#elif defined(__aarch64__) && defined(__linux__)

bool has(unsigned long entry, int bit) { return getauxval(entry) >> bit & 1; }

#endif

struct feature {
    const char *name;
    bool is_here;
};

// The name of a feature that the level needs and this CPU lacks; NULL where it can run.
const char *missing(const cpu_level &level) {
// Must be a macro: the table's rows are its arguments.
#define LLAMACFFI_HAS(name, macro, ...) {name, has(__VA_ARGS__)},
    static const feature features[] = {LLAMACFFI_CPU_FEATURES(LLAMACFFI_HAS){"", true}};
#undef LLAMACFFI_HAS
    for (size_t i = 0; i < std::size(features); ++i) {
        if (*level.needs >> i & 1 && !features[i].is_here) return features[i].name;
    }
    return nullptr;
}

// ---------------------------------------------------------------- the choice

bool take(const cpu_level &level, const std::string &why) {
    chosen = &level;
    llamacffi_cpu_functions = level.functions;
    reason = why;
    return true;
}

bool refuse(const std::string &why) {
    PyErr_Format(PyExc_ImportError, "%s", why.c_str());  // which takes any bytes of the environment
    return false;
}

std::string names_of_runnable() {
    std::string names;
    for (const cpu_level *level = llamacffi_cpu_levels; level->name; ++level) {
        if (!missing(*level)) names += (names.empty() ? "" : ", ") + std::string(level->name);
    }
    return names.empty() ? "none" : names;
}

bool take_named(const std::string &name) {
    for (const cpu_level *level = llamacffi_cpu_levels; level->name; ++level) {
        if (name != level->name) continue;
        const char *lacking = missing(*level);
        if (!lacking) return take(*level, "LLAMACFFI_CPU names it");
        return refuse("LLAMACFFI_CPU names the level " + name + ", which needs " + lacking +
                      ", and this CPU lacks it; what can run here: " + names_of_runnable());
    }
    return refuse("LLAMACFFI_CPU should name a level of this build of llamacffi, not '" + name +
                  "'; what can run here: " + names_of_runnable());
}

bool take_best() {
    std::string better;
    const cpu_level *level = llamacffi_cpu_levels;
    for (; level->name; ++level) {
        const char *lacking = missing(*level);
        if (!lacking) break;
        better += std::string(better.empty() ? "" : ", ") + level->name + " needs " + lacking;
    }
    if (level->name)
        return take(*level, better.empty() ? "the best of this build" : "the best that this CPU can run: " + better);
    return refuse("this build of llamacffi cannot run on this CPU (" + better +
                  "): build it on this machine, with `pip install .` in a checkout or a source archive, or for other "
                  "CPUs as well, with LLAMACFFI_LEVELS=all");
}

}  // namespace

bool choose_cpu_level() {
    const char *named = std::getenv("LLAMACFFI_CPU");
    return named && *named ? take_named(named) : take_best();
}

PyObject *cpu_level_info() {
    PyObject *names = PyList_New(0);
    for (const cpu_level *level = llamacffi_cpu_levels; names && level->name; ++level) {
        PyObject *name = PyUnicode_FromString(level->name);
        if (!name || PyList_Insert(names, 0, name) != 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names ? Py_BuildValue("{s:N,s:s,s:s}", "cpu_levels", names, "cpu_level", chosen->name, "reason",
                                 reason.c_str())
                 : nullptr;
}

}  // namespace llamacffi
