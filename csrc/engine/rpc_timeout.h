/* Included before llama.cpp's ggml-rpc.cpp and transport.cpp: a server has a limited time to take a connection and to
 * answer the first message on it. After that it may compute for as long as it likes, so nothing is limited any more.
 * And what these files log under a mutex may come to a callback that calls them again.
 *
 * Upstream's files stay as they are, so its function names are macros: the word behind LLAMACFFI_…_ is the one that a
 * use of the name begins with, `const` in a definition, the first argument in a call. */
#pragma once

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <queue>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "transport.h"

namespace llamacffi {

inline thread_local int greeted_socket = -1;  // the one that this thread is about to connect, or has connected last

inline double rpc_timeout() {
    const char *given = std::getenv("LLAMACFFI_RPC_TIMEOUT");
    if (!given || !*given) return 10;
    char *end = nullptr;
    const double seconds = std::strtod(given, &end);
    if (*end || !(seconds > 0 && seconds <= 86400))
        throw std::invalid_argument(
            std::string("LLAMACFFI_RPC_TIMEOUT should be seconds from above 0 to 86400, not '") + given +
            "': correct or unset it");
    return seconds;
}

// Zero is without a limit.
inline void limit_waits(int socket, double seconds) {
    timeval limit{};
    limit.tv_sec = static_cast<decltype(limit.tv_sec)>(seconds);
    limit.tv_usec = static_cast<decltype(limit.tv_usec)>((seconds - static_cast<double>(limit.tv_sec)) * 1e6);
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

// Say what came of it in words, where the server said nothing.
inline bool greet(bool (*hello)(const std::shared_ptr<socket_t> &), const std::string &endpoint,
                  const std::shared_ptr<socket_t> &socket) {
    const double limit = rpc_timeout();
    const auto begin = std::chrono::steady_clock::now();
    bool done = false;
    try {
        done = hello(socket);
    } catch (...) {
        const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
        if (waited.count() < limit * 0.99) throw;
        throw std::runtime_error("the server " + endpoint + " did not answer within " + std::to_string(limit) +
                                 " s: see whether it runs, or set LLAMACFFI_RPC_TIMEOUT");
    }
    limit_waits(greeted_socket, 0);
    return done;
}

}  // namespace llamacffi

inline int llamacffi_connect(int socket, const sockaddr *address, socklen_t length) {
    llamacffi::greeted_socket = socket;
    llamacffi::limit_waits(socket, llamacffi::rpc_timeout());
    return connect(socket, address, length);
}

#define LLAMACFFI_CONNECT_const connect(const
#define LLAMACFFI_CONNECT_host connect(host
#define LLAMACFFI_CONNECT_sockfd llamacffi_connect(sockfd
#define connect(...) LLAMACFFI_CONNECT_##__VA_ARGS__)
#define LLAMACFFI_HELLO_const negotiate_hello(const
#define LLAMACFFI_HELLO_sock llamacffi::greet(&negotiate_hello, endpoint, sock
#define negotiate_hello(...) LLAMACFFI_HELLO_##__VA_ARGS__)

#define mutex recursive_mutex
#define condition_variable condition_variable_any
