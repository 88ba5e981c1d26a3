// How many CPUs this process may use.
#pragma once

#include <string>

namespace llamacffi {

// The CPUs of the affinity mask, and no more of them than the CPU quota of the cgroup pays for in full (v1 and v2); at
// least one. `root` stands before the paths that are read, for the tests.
int usable_cpus(const std::string &root = "");

// How many threads a context may compute with: LLAMACFFI_MAX_THREADS, or else the usable CPUs.
// Throws std::invalid_argument where the variable holds no number of threads.
int most_threads();

}  // namespace llamacffi
