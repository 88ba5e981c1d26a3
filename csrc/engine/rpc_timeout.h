/* Included before llama.cpp's ggml-rpc.cpp and transport.cpp: no server is waited for without a limit, and one that is
 * lost is an exception of the call that needs it, and of each later one.
 *
 * Upstream asserts, on a thread of its own that talks to the server, and ends the process. Here what fails there
 * throws, the thread goes on, and gives each message back that it cannot send (`serve`). What they log under a mutex
 * may come to a callback that calls them again.
 *
 * Upstream's files stay as they are, so its function names are macros: the word behind LLAMACFFI_…_ is the one that a
 * use of the name begins with, a type in a definition, the first argument in a call. */
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

#include "quiet_end.h"
#include "transport.h"

namespace llamacffi {

inline thread_local int greeted_socket = -1;  // the one that this thread is about to connect, or has connected last
inline thread_local std::string server;       // the one that this thread talks to

constexpr double to_connect = 10, to_answer = 600;  // seconds; a server may compute a long prompt before it answers

// What LLAMACFFI_RPC_TIMEOUT says, for both.
inline double rpc_timeout(double usual) {
    const char *given = std::getenv("LLAMACFFI_RPC_TIMEOUT");
    if (!given || !*given) return usual;
    char *end = nullptr;
    const double seconds = std::strtod(given, &end);
    if (*end || !(seconds > 0 && seconds <= 86400))
        throw std::invalid_argument(
            std::string("LLAMACFFI_RPC_TIMEOUT should be seconds from above 0 to 86400, not '") + given +
            "': correct or unset it");
    return seconds;
}

inline void limit_waits(int socket, double seconds) {
    timeval limit{};
    limit.tv_sec = static_cast<decltype(limit.tv_sec)>(seconds);
    limit.tv_usec = static_cast<decltype(limit.tv_usec)>((seconds - static_cast<double>(limit.tv_sec)) * 1e6);
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

// A command that was sent and answered: the type of a cast, so that upstream's conditions stay as they are.
class sent {
  public:
    explicit sent(bool done) {
        if (!done)
            throw std::runtime_error(
                "the server " + server + " of remote backends was lost, did not answer in time, or " +
                "does not speak this protocol: see whether it runs; LLAMACFFI_RPC_TIMEOUT sets the "
                "time");
    }
    operator bool() const { return true; }
};

inline std::mutex servers_mutex;
inline std::unordered_map<const void *, std::string> servers;  // of each dispatcher, from its greeting to its thread

inline bool greet(bool (*hello)(const std::shared_ptr<socket_t> &), const std::string &endpoint,
                  const std::shared_ptr<socket_t> &socket, const void *dispatcher) {
    server = endpoint;
    const bool done = hello(socket);
    limit_waits(greeted_socket, rpc_timeout(to_answer));
    const std::lock_guard<std::mutex> lock(servers_mutex);
    servers[dispatcher] = endpoint;
    return done;
}

// `send_rpc_cmd` is declared later, and found by the types of its arguments.
template <typename Socket, typename Message>
bool send(const Socket &socket, const Message &message) {
    const void *input = message.input.get();
    if (!message.output) return send_rpc_cmd(socket, message.cmd, input, message.input_size);
    return send_rpc_cmd(socket, message.cmd, input, message.input_size, message.output, message.output_size);
}

// What a dispatcher's thread does, in the place of upstream's `work`. After the first message that fails no other is
// sent: the answer to the next could be the answer to the one before. Who waits for one gets what failed.
template <auto none, typename Dispatcher>
void serve(Dispatcher &dispatcher) {
    {
        const std::lock_guard<std::mutex> lock(servers_mutex);
        server = servers[&dispatcher];
        servers.erase(&dispatcher);
    }
    std::exception_ptr failure;
    for (typename Dispatcher::rpc_msg_ptr message; dispatcher.queue.pop(&message); message.reset()) {
        try {
            if (failure) std::rethrow_exception(failure);
            if (message->cmd != none) sent(send(dispatcher.sock, *message));
            message->completion.set_value();
        } catch (...) {
            failure = std::current_exception();
            message->completion.set_exception(failure);
        }
    }
}

// In destructors nothing may be thrown, and a lost server has nothing left that could be freed.
template <typename Act>
void unless_lost(Act act) {
    try {
        act();
    } catch (...) {
    }
}

}  // namespace llamacffi

inline int llamacffi_connect(int socket, const sockaddr *address, socklen_t length) {
    llamacffi::greeted_socket = socket;
    llamacffi::limit_waits(socket, llamacffi::rpc_timeout(llamacffi::to_connect));
    return connect(socket, address, length);
}

#define LLAMACFFI_CONNECT_const connect(const
#define LLAMACFFI_CONNECT_host connect(host
#define LLAMACFFI_CONNECT_sockfd llamacffi_connect(sockfd
#define connect(...) LLAMACFFI_CONNECT_##__VA_ARGS__)
#define LLAMACFFI_HELLO_const negotiate_hello(const
#define LLAMACFFI_HELLO_sock llamacffi::greet(&negotiate_hello, endpoint, sock, this
#define negotiate_hello(...) LLAMACFFI_HELLO_##__VA_ARGS__)

#define LLAMACFFI_SEND_socket_ptr send_rpc_cmd(socket_ptr
#define LLAMACFFI_SEND_sock (llamacffi::sent) send_rpc_cmd(sock
#define send_rpc_cmd(...) LLAMACFFI_SEND_##__VA_ARGS__)

// `wait()` for an answer takes it, with its exception; `wait(lock, …)` of a condition stays.
#define LLAMACFFI_WAIT_ get(
#define LLAMACFFI_WAIT_lock wait(lock
#define wait(...) LLAMACFFI_WAIT_##__VA_ARGS__)

// Their definitions alone are called like functions; ours stand before them.
#define rpc_dispatcher_trampoline(...)                                                                     \
    rpc_dispatcher_trampoline(rpc_dispatcher *dispatcher) { llamacffi::serve<RPC_CMD_NONE>(*dispatcher); } \
    [[maybe_unused]] static void rpc_dispatcher_trampoline_of_upstream(__VA_ARGS__)
#define ggml_backend_rpc_buffer_free_buffer(...)                                                  \
    ggml_backend_rpc_buffer_free_buffer_of_upstream(ggml_backend_buffer_t);                       \
    static void ggml_backend_rpc_buffer_free_buffer(ggml_backend_buffer_t buffer) {               \
        llamacffi::unless_lost([&] { ggml_backend_rpc_buffer_free_buffer_of_upstream(buffer); }); \
    }                                                                                             \
    static void ggml_backend_rpc_buffer_free_buffer_of_upstream(__VA_ARGS__)
#define ggml_backend_rpc_synchronize(...)                                                   \
    ggml_backend_rpc_synchronize_of_upstream(ggml_backend_t);                               \
    static void ggml_backend_rpc_synchronize(ggml_backend_t backend) {                      \
        if (!llamacffi::frees) return ggml_backend_rpc_synchronize_of_upstream(backend);    \
        llamacffi::unless_lost([&] { ggml_backend_rpc_synchronize_of_upstream(backend); }); \
    }                                                                                       \
    static void ggml_backend_rpc_synchronize_of_upstream(__VA_ARGS__)

#define private public  // for `serve`

#define mutex recursive_mutex
#define condition_variable condition_variable_any
