// Which of the levels that ggml-cpu was compiled for runs here: chosen once, before anything of ggml-cpu is called.
#pragma once

#include "core/python.h"

namespace llamacffi {

// Choose the best level that this CPU can run, or the one that LLAMACFFI_CPU names; false with an ImportError set.
bool choose_cpu_level();

// A dict of what was chosen and why, for build_info().
PyObject *cpu_level_info();

}  // namespace llamacffi
