// What a server of remote backends knows of the command `rpc-server`, which starts a process for each client: the
// client's socket, and how much memory all clients may take.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace llamacffi {

struct served_client {
    static constexpr int none = -1, gone = -2;

    int socket = none;
    uint64_t limit = 0;                      // bytes, of all clients together
    std::atomic<uint64_t> *taken = nullptr;  // bytes of each, in a page that all processes share
    size_t count = 0, own = 0;
};

inline served_client served;

// Logs what is being thrown; called inside a catch block. The extension sets it.
inline void (*log_lost_client)(const char *function) = [](const char *) {};

}  // namespace llamacffi
