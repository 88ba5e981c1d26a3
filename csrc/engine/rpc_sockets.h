/* The sockets of remote backends; included before llama.cpp's transport.cpp, whose system calls it takes over.
 *
 * Upstream waits for ever, takes a signal for a loss, and leaves a socket open that did not connect. Here each wait has
 * a limit, and a server that computes for longer is asked over a second connection whether it is still there: a
 * `llamacffi rpc-server` answers (it says so in a byte that upstream leaves 0), while llama.cpp's own has one client at
 * a time, and can only be given more time. */
#pragma once

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "rpc_served.h"
#include "transport.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

namespace llamacffi {

inline thread_local int latest_socket = -1;     // that this thread has made, or accepted
inline thread_local std::string server;         // the one that this thread talks to; none on a server
inline thread_local bool can_be_asked = false;  // whether that one answers others while it computes
inline thread_local std::string why;            // the last connection could not be made

constexpr double to_connect = 10, to_answer = 600;  // seconds; a server may compute a long prompt before it answers
constexpr double silent =
    0.25;  // the share of the first after which one that can be asked is asked, with the rest of it

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

// 0 is no limit.
inline void limit_waits(int socket, double seconds) {
    timeval limit{};
    limit.tv_sec = static_cast<decltype(limit.tv_sec)>(seconds);
    limit.tv_usec = static_cast<decltype(limit.tv_usec)>((seconds - static_cast<double>(limit.tv_sec)) * 1e6);
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

inline void set_option(int socket, int level, int name, int value) {
    setsockopt(socket, level, name, &value, sizeof value);
}

// The system finds out that the other machine is gone, or its cable, where nothing is to be sent.
inline void notice_loss(int socket, double seconds) {
    const int whole = std::max(1, static_cast<int>(std::ceil(seconds / 2)));
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_USER_TIMEOUT
    set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(seconds * 1000));
#endif
#ifdef TCP_KEEPIDLE
    set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, whole);
    set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, whole / 3));
    set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
#endif
}

// A program that is started meanwhile must not hold the connection open.
inline int new_socket(int family) {
    latest_socket = socket(family, SOCK_STREAM, 0);
    if (latest_socket < 0)
        why = std::strerror(errno);
    else
        fcntl(latest_socket, F_SETFD, FD_CLOEXEC);
    return latest_socket;
}

// Whether the server at the other end says hello to another client.
inline bool answers(int connected) {
    constexpr uint8_t command = 14;  // upstream asserts that HELLO is that
    constexpr uint64_t size = RPC_CONN_CAPS_SIZE;
    uint8_t hello[1 + sizeof size + size] = {command}, answer[sizeof size + 4 + size];
    std::memcpy(hello + 1, &size, sizeof size);
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (getpeername(connected, reinterpret_cast<sockaddr *>(&address), &length) != 0) return false;
    const int other = new_socket(address.ss_family);
    limit_waits(other, rpc_timeout(to_connect) * (1 - silent));
    const bool answered = connect(other, reinterpret_cast<sockaddr *>(&address), length) == 0 &&
                          send(other, hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello &&
                          recv(other, answer, sizeof answer, MSG_WAITALL) == sizeof answer;
    close(other);
    return answered;
}

// A signal may come to any thread, and says nothing of the server.
template <typename Act>
ssize_t patiently(int connected, Act act) {
    for (;;) {
        const ssize_t done = act();
        if (done >= 0 || server.empty()) return done;
        if (errno == EINTR) continue;
        if ((errno != EAGAIN && errno != EWOULDBLOCK) || !can_be_asked || !answers(connected)) return -1;
    }
}

// `gethostbyname` has one answer for all threads.
inline hostent *find_host(const char *name) {
    static thread_local in_addr address;
    static thread_local char *list[2] = {reinterpret_cast<char *>(&address), nullptr};
    static thread_local hostent found{};
    addrinfo wanted{}, *all = nullptr;
    wanted.ai_family = AF_INET;
    wanted.ai_socktype = SOCK_STREAM;
    if (const int status = getaddrinfo(name, nullptr, &wanted, &all); status != 0) {
        why = gai_strerror(status);
        close(latest_socket);
        return nullptr;
    }
    address = reinterpret_cast<sockaddr_in *>(all->ai_addr)->sin_addr;
    freeaddrinfo(all);
    found.h_addrtype = AF_INET;
    found.h_length = sizeof address;
    found.h_addr_list = list;
    return &found;
}

inline int connect_in_time(int socket, const sockaddr *address, socklen_t length) {
    const double seconds = rpc_timeout(to_connect);
    limit_waits(socket, seconds);
    notice_loss(socket, seconds);
    const int status = connect(socket, address, length);
    if (status == 0) return 0;
    why = std::strerror(errno == EINPROGRESS ? ETIMEDOUT : errno);  // which it is when the limit is over
    close(socket);
    return status;
}

// Upstream's server says nothing of why it cannot listen.
inline int bind_or_throw(int socket, const sockaddr *address, socklen_t length) {
    if (served.socket != served_client::none || bind(socket, address, length) == 0) return 0;
    const std::string reason = std::strerror(errno);
    close(socket);
    throw std::runtime_error("the endpoint cannot be listened on: " + reason);
}

inline int listen_to_many(int socket, int) {
    constexpr int waiting = 64;
    return served.socket != served_client::none ? 0 : listen(socket, waiting);
}

// A client has to say hello in time; after that it may be silent for as long as it lives.
inline int accept_client(int listening, sockaddr *, socklen_t *) {
    server.clear();
    if (served.socket == served_client::gone) throw std::runtime_error("the one client has left");
    if (served.socket == served_client::none)
        latest_socket = accept(listening, nullptr, nullptr);
    else
        latest_socket = std::exchange(served.socket, served_client::gone);
    if (latest_socket < 0) return -1;
    fcntl(latest_socket, F_SETFD, FD_CLOEXEC);
    const double seconds = rpc_timeout(to_connect);
    limit_waits(latest_socket, seconds);
    notice_loss(latest_socket, seconds);
    return latest_socket;
}

}  // namespace llamacffi

/* The word behind LLAMACFFI_…_ is the one that a use of the name begins with: nothing or a type in a definition, the
 * first argument in a call. Must be macros: upstream names the functions. */
#ifdef LLAMACFFI_IN_TRANSPORT
#define socket(...) llamacffi::new_socket(AF_INET)
#define gethostbyname(name) llamacffi::find_host(name)
#define bind(...) llamacffi::bind_or_throw(__VA_ARGS__)
#define listen(...) llamacffi::listen_to_many(__VA_ARGS__)
#define recv(fd, ...) llamacffi::patiently(fd, [&] { return (recv)(fd, __VA_ARGS__); })
#define send(fd, data, size, flags) llamacffi::patiently(fd, [&] { return (send)(fd, data, size, MSG_NOSIGNAL); })

#define LLAMACFFI_CONNECT_const connect(const
#define LLAMACFFI_CONNECT_sockfd llamacffi::connect_in_time(sockfd
#define connect(...) LLAMACFFI_CONNECT_##__VA_ARGS__)
#define LLAMACFFI_ACCEPT_ accept(
#define LLAMACFFI_ACCEPT_pimpl llamacffi::accept_client(pimpl
#define accept(...) LLAMACFFI_ACCEPT_##__VA_ARGS__)
#endif
