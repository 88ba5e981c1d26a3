// The process as a whole: taking over llama.cpp's hooks, and what fork() leaves of threads and locks.
#pragma once

#include "core/python.h"

namespace llamacffi {

// Become llama.cpp's log callback and its hook for failed assertions, for good.
void take_over();

// os.register_at_fork(after_in_child=…), where there is a fork.
bool register_at_fork();

}  // namespace llamacffi
