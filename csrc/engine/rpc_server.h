/* The server of remote backends; included before llama.cpp's ggml-rpc.cpp: what a client sends ends its connection at
 * worst, and what all clients take together has a limit, where the command `rpc-server` gives one.
 *
 * Upstream lets a failed assertion end the server, makes room for a message as long as the client says it is, and
 * believes each file of its cache, also one that a killed server left half written. */
#pragma once

#include <cinttypes>
#include <cstdio>

#include "ggml-backend.h"
#include "rpc_client.h"

namespace llamacffi {

template <typename Answer>
Answer &marked(Answer &answer) {
    if (served.socket == served_client::gone) answer.padding = answers_others;
    return answer;
}

template <typename Request>
Request &admitted(Request &request) {
    limit_waits(latest_socket, 0);
    return request;
}

template <typename Serve, typename... Arguments>
void serve_client(Serve serve, const Arguments &...arguments) {
    try {
        serve(arguments...);
    } catch (...) {
        log_lost_client("a client's connection is ended: ggml_backend_rpc_start_server");
    }
}

// `recv_msg` is declared later, and found by the types of its arguments.
template <typename Socket>
bool receive(const Socket &socket, void *message, size_t size) {
    return recv_msg(socket, message, size);
}

// Room is made for what has come, and not for what is announced.
template <typename Socket>
bool receive(const Socket &socket, std::vector<uint8_t> &input) {
    constexpr uint64_t piece = 64 << 20;
    uint64_t size, has = 0;
    if (!socket->recv_data(&size, sizeof size)) return false;
    for (; has < size; has = input.size()) {
        input.resize(std::min(size, has + piece));
        if (!socket->recv_data(input.data() + has, input.size() - has)) return false;
    }
    return true;
}

// ---------------------------------------------------------------- memory

inline uint64_t taken_by_all() {
    uint64_t all = 0;
    for (size_t i = 0; i < served.count; ++i) all += served.taken[i];
    return all;
}

// First noted, then compared: of two clients that ask at once one may be refused, but never both be given too much.
inline bool take(uint64_t size) {
    if (!served.taken) return true;
    if (size > served.limit) return false;
    served.taken[served.own] += size;
    if (taken_by_all() <= served.limit) return true;
    served.taken[served.own] -= size;
    return false;
}

inline ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    if (!take(size)) return nullptr;
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(type, size);
    if (served.taken) served.taken[served.own] += (buffer ? ggml_backend_buffer_get_size(buffer) : 0) - size;
    return buffer;
}

inline void give_back(ggml_backend_buffer_t buffer) {
    if (served.taken) served.taken[served.own] -= ggml_backend_buffer_get_size(buffer);
    ggml_backend_buffer_free(buffer);
}

inline void tell_memory(ggml_backend_dev_t device, size_t *free, size_t *total) {
    ggml_backend_dev_memory(device, free, total);
    if (!served.taken) return;
    *total = std::min<size_t>(*total, served.limit);
    *free = std::min<size_t>(*free, served.limit - std::min(served.limit, taken_by_all()));
}

// ---------------------------------------------------------------- the cache

// A file is named by the hash of what is in it (FNV-1a).
inline bool is_whole(const std::filesystem::path &path, uint64_t hash) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> piece(1 << 20);
    uint64_t found = 0xcbf29ce484222325;
    while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0)
        for (std::streamsize i = 0; i < file.gcount(); ++i)
            found = (found ^ static_cast<uint8_t>(piece[static_cast<size_t>(i)])) * 0x100000001b3;
    return found == hash;
}

// Takes its name when it is whole.
class cached_file {
  public:
    cached_file(const std::filesystem::path &path, std::ios::openmode mode)
        : path_(path), partial_(path.string() + "." + std::to_string(getpid())), file_(partial_, mode) {}
    ~cached_file() {
        file_.close();
        std::error_code ignored;
        if (file_.good()) std::filesystem::rename(partial_, path_, ignored);
        std::filesystem::remove(partial_, ignored);
    }
    cached_file(const cached_file &) = delete;
    cached_file &operator=(const cached_file &) = delete;

    void write(const char *data, size_t size) { file_.write(data, static_cast<std::streamsize>(size)); }

  private:
    std::filesystem::path path_, partial_;
    std::ofstream file_;
};

}  // namespace llamacffi

namespace std {
using llamacffi_cached_file = llamacffi::cached_file;
}
#define ofstream llamacffi_cached_file
#define exists(...) exists(__VA_ARGS__) || !llamacffi::is_whole(cache_file, hash)

#define LLAMACFFI_SERVE_const rpc_serve_client(const
#define LLAMACFFI_SERVE_backends llamacffi::serve_client(&rpc_serve_client, backends
#define rpc_serve_client(...) LLAMACFFI_SERVE_##__VA_ARGS__)
#define LLAMACFFI_RECEIVE_socket_ptr recv_msg(socket_ptr
#define LLAMACFFI_RECEIVE_sock llamacffi::receive(sock
#define recv_msg(...) LLAMACFFI_RECEIVE_##__VA_ARGS__)

#define ggml_backend_buft_alloc_buffer llamacffi::allocate
#define ggml_backend_buffer_free llamacffi::give_back
#define ggml_backend_dev_memory llamacffi::tell_memory

#define private public  // for `serve`

#define mutex recursive_mutex
#define condition_variable condition_variable_any
