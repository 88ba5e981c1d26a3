/* The client of remote backends; included before llama.cpp's ggml-rpc.cpp: a server that is lost, or answers with what
 * cannot be, is an exception of the call that needs it, and of each later one; a load after that connects again.
 *
 * Upstream asserts, on a thread of its own that talks to the server, and ends the process. Here what fails there
 * throws, the thread goes on, and gives each message back that it cannot send (`serve`). What they log under a mutex
 * may come to a callback that calls them again.
 *
 * Upstream's files stay as they are, so its function names are macros: the word behind LLAMACFFI_…_ is the one that a
 * use of the name begins with, a type in a definition, the first argument in a call. */
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <queue>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "quiet_end.h"
#include "rpc_sockets.h"

namespace llamacffi {

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

[[noreturn]] inline void refuse_server(const std::string &endpoint, const std::string &detail) {
    throw std::runtime_error("the server " + endpoint + " of remote backends " + detail);
}

template <typename Socket>
void check_connected(const Socket &connected, const std::string &endpoint) {
    if (!connected) refuse_server(endpoint, "cannot be reached: " + why + "; see whether it runs there");
}

// ---------------------------------------------------------------- connections

// From a dispatcher's greeting to its thread.
struct greeting {
    std::string endpoint;
    std::shared_ptr<socket_t> socket;
    bool can_be_asked;
};
inline std::mutex servers_mutex;
inline std::unordered_map<const void *, greeting> greetings;
inline std::unordered_set<const void *> lost_dispatchers;

// The byte that upstream leaves 0.
constexpr uint8_t answers_others = 1;

template <typename Answer>
Answer &noted(Answer &answer) {
    can_be_asked = answer.padding == answers_others;
    return answer;
}

inline bool greet(bool (*hello)(const std::shared_ptr<socket_t> &), const std::string &endpoint,
                  const std::shared_ptr<socket_t> &socket, const void *dispatcher) {
    server = endpoint;
    can_be_asked = false;
    if (!hello(socket))
        refuse_server(endpoint, "speaks another version of the protocol: run the same llama.cpp on both sides");
    limit_waits(latest_socket, can_be_asked ? rpc_timeout(to_connect) * silent : rpc_timeout(to_answer));
    const std::lock_guard<std::mutex> lock(servers_mutex);
    greetings[dispatcher] = {endpoint, socket, can_be_asked};
    return true;
}

inline bool is_lost(const void *dispatcher) {
    const std::lock_guard<std::mutex> lock(servers_mutex);
    return lost_dispatchers.count(dispatcher);
}

template <typename Dispatcher>
struct connection {
    std::recursive_mutex mutex;
    std::weak_ptr<Dispatcher> dispatcher;
};

// In the place of upstream's `get_dispatcher`, which gives a lost one back for as long as something holds it, and lets
// all wait for one that is being connected.
template <typename Dispatcher>
std::shared_ptr<Dispatcher> dispatcher_of(const std::string &endpoint) {
    static std::recursive_mutex mutex;
    static std::unordered_map<std::string, connection<Dispatcher>> connections;
    std::unique_lock<std::recursive_mutex> all(mutex);
    connection<Dispatcher> &one = connections[endpoint];
    all.unlock();
    const std::lock_guard<std::recursive_mutex> lock(one.mutex);
    if (auto known = one.dispatcher.lock(); known && !is_lost(known.get())) return known;
    auto fresh = std::make_shared<Dispatcher>();
    fresh->start(endpoint);
    one.dispatcher = fresh;
    return fresh;
}

// ---------------------------------------------------------------- messages and answers

// What the rest of ggml divides by, or makes as many of as the server says.
template <typename Message>
bool can_be(const Message &message) {
    using command = decltype(message.cmd);
    constexpr uint64_t most_devices = 64, most_bytes = uint64_t(1) << 60;
    uint64_t number[2] = {};
    std::memcpy(number, message.output, std::min(message.output_size, sizeof number));
    switch (message.cmd) {
        case command::RPC_CMD_DEVICE_COUNT: return number[0] <= most_devices;
        case command::RPC_CMD_GET_ALIGNMENT:
            return number[0] && number[0] <= 1 << 30 && (number[0] & (number[0] - 1)) == 0;
        case command::RPC_CMD_GET_MAX_SIZE: return number[0] != 0;
        case command::RPC_CMD_BUFFER_GET_BASE: return number[0] != 0 && number[0] < most_bytes;
        case command::RPC_CMD_GET_DEVICE_MEMORY: return number[0] <= number[1];
        case command::RPC_CMD_GET_ALLOC_SIZE: return number[0] < most_bytes;
        default: return true;
    }
}

// `send_rpc_cmd` is declared later, and found by the types of its arguments.
template <typename Socket, typename Message>
void send(const Socket &socket, const Message &message) {
    const void *input = message.input.get();
    if (!message.output) {
        sent(send_rpc_cmd(socket, message.cmd, input, message.input_size));
        return;
    }
    sent(send_rpc_cmd(socket, message.cmd, input, message.input_size, message.output, message.output_size));
    if (!can_be(message))
        refuse_server(server, "answered with what cannot be: see whether it is llama.cpp's, of the same version");
}

// What a dispatcher's thread does, in the place of upstream's `work`. After the first message that fails no other is
// sent: the answer to the next could be the answer to the one before. Who waits for one gets what failed.
template <auto none, typename Dispatcher>
void serve(Dispatcher &dispatcher) {
    std::unique_lock<std::mutex> lock(servers_mutex);
    const greeting greeted = greetings[&dispatcher];
    greetings.erase(&dispatcher);
    lock.unlock();
    server = greeted.endpoint;
    can_be_asked = greeted.can_be_asked;
    std::exception_ptr failure;
    for (typename Dispatcher::rpc_msg_ptr message; dispatcher.queue.pop(&message); message.reset()) {
        try {
            if (failure) std::rethrow_exception(failure);
            if (message->cmd != none) send(greeted.socket, *message);
            message->completion.set_value();
        } catch (...) {
            failure = std::current_exception();
            lock.lock();
            lost_dispatchers.insert(&dispatcher);
            lock.unlock();
            message->completion.set_exception(failure);
        }
    }
    lock.lock();
    lost_dispatchers.erase(&dispatcher);
}

// In destructors nothing may be thrown, and a lost server has nothing left that could be freed.
template <typename Act>
void unless_lost(Act act) {
    try {
        act();
    } catch (...) {
    }
}

// ---------------------------------------------------------------- graphs that the server still has

// A device remembers which graph it sent last, and has the server compute that again. Upstream notes and sends it in
// two steps, between which another thread may send its own; and the server forgets all graphs when it frees a buffer.
struct sent_graphs {
    std::mutex mutex;
    uint64_t freed = 0;
    std::unordered_map<const void *, uint64_t> seen;  // by device: `freed` when it sent its graph
};
inline sent_graphs graphs;

template <typename Device, typename Act>
auto send_graph(Device &device, Act act) {
    const std::lock_guard<std::mutex> lock(graphs.mutex);
    uint64_t &seen = graphs.seen[&device];
    if (seen != graphs.freed) device.last_graph_uid = 0;
    seen = graphs.freed;
    return act();
}

template <typename Act>
void free_remote(Act act) {
    const std::lock_guard<std::mutex> lock(graphs.mutex);
    ++graphs.freed;
    act();
}

}  // namespace llamacffi

#define connect(...) connect(__VA_ARGS__), llamacffi::check_connected(sock, endpoint)
#define LLAMACFFI_HELLO_const negotiate_hello(const
#define LLAMACFFI_HELLO_sock llamacffi::greet(&negotiate_hello, endpoint, sock, this
#define negotiate_hello(...) LLAMACFFI_HELLO_##__VA_ARGS__)

// The answer to HELLO, as a client reads it, and a server writes it; after it, a server waits for ever.
#define LLAMACFFI_CAPS_response update_caps(llamacffi::noted(response)
#define LLAMACFFI_CAPS_req update_caps(llamacffi::admitted(req)
#define update_caps(...) LLAMACFFI_CAPS_##__VA_ARGS__)
#define LLAMACFFI_OWN_CAPS_request get_caps(request
#define LLAMACFFI_OWN_CAPS_rsp get_caps(llamacffi::marked(rsp)
#define get_caps(...) LLAMACFFI_OWN_CAPS_##__VA_ARGS__)

#define LLAMACFFI_DISPATCHER_const get_dispatcher_of_upstream(const
#define LLAMACFFI_DISPATCHER_buft_ctx llamacffi::dispatcher_of<rpc_dispatcher>(buft_ctx
#define LLAMACFFI_DISPATCHER_ctx llamacffi::dispatcher_of<rpc_dispatcher>(ctx
#define LLAMACFFI_DISPATCHER_endpoint llamacffi::dispatcher_of<rpc_dispatcher>(endpoint
#define get_dispatcher(...) LLAMACFFI_DISPATCHER_##__VA_ARGS__)

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
#define ggml_backend_rpc_buffer_free_buffer(...)                                                                      \
    ggml_backend_rpc_buffer_free_buffer(ggml_backend_buffer_t buffer) {                                               \
        auto *ctx = static_cast<ggml_backend_rpc_buffer_context *>(buffer->context);                                  \
        auto request = std::make_shared<rpc_msg_free_buffer_req>();                                                   \
        request->remote_ptr = ctx->remote_ptr;                                                                        \
        llamacffi::free_remote([&] { ctx->dispatcher->send_async(RPC_CMD_FREE_BUFFER, request, sizeof(*request)); }); \
        llamacffi::unless_lost([&] { ctx->dispatcher->synchronize(); });                                              \
        delete ctx;                                                                                                   \
    }                                                                                                                 \
    [[maybe_unused]] static void ggml_backend_rpc_buffer_free_buffer_of_upstream(__VA_ARGS__)
#define ggml_backend_rpc_graph_compute(...)                                                                        \
    ggml_backend_rpc_graph_compute_of_upstream(ggml_backend_t, ggml_cgraph *);                                     \
    static ggml_status ggml_backend_rpc_graph_compute(ggml_backend_t backend, ggml_cgraph *cgraph) {               \
        void *device = ggml_backend_get_device(backend)->context;                                                  \
        return llamacffi::send_graph(*static_cast<ggml_backend_rpc_device_context *>(device),                      \
                                     [&] { return ggml_backend_rpc_graph_compute_of_upstream(backend, cgraph); }); \
    }                                                                                                              \
    static ggml_status ggml_backend_rpc_graph_compute_of_upstream(__VA_ARGS__)
#define ggml_backend_rpc_synchronize(...)                                                   \
    ggml_backend_rpc_synchronize_of_upstream(ggml_backend_t);                               \
    static void ggml_backend_rpc_synchronize(ggml_backend_t backend) {                      \
        if (!llamacffi::frees) return ggml_backend_rpc_synchronize_of_upstream(backend);    \
        llamacffi::unless_lost([&] { ggml_backend_rpc_synchronize_of_upstream(backend); }); \
    }                                                                                       \
    static void ggml_backend_rpc_synchronize_of_upstream(__VA_ARGS__)
// Upstream connects, to let the connection free what is the event's own.
#define ggml_backend_rpc_device_event_free(...)                                          \
    ggml_backend_rpc_device_event_free(ggml_backend_dev_t, ggml_backend_event_t event) { \
        delete static_cast<rpc_dispatcher::rpc_event *>(event->context);                 \
        delete event;                                                                    \
    }                                                                                    \
    [[maybe_unused]] static void ggml_backend_rpc_device_event_free_of_upstream(__VA_ARGS__)
