// Whether this thread frees something of llama.cpp's: its destructors run then, and one that throws ends the process.
#pragma once

namespace llamacffi {

inline thread_local bool frees = false;

struct quiet_end {
    quiet_end() { frees = true; }
    ~quiet_end() { frees = false; }
};

}  // namespace llamacffi
