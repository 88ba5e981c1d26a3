// Calls what csrc/engine/old_glibc.c has in glibc's place, and prints what comes, for tests/wheel/test_old_glibc.py.
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

extern "C" uint32_t arc4random();

namespace {

void print(const char *name, int status, const struct stat &found) {
    std::printf("%s %d %llu %lld %u %lld\n", name, status, static_cast<unsigned long long>(found.st_ino),
                static_cast<long long>(found.st_size), found.st_mode, static_cast<long long>(found.st_mtime));
}

void print_files(const char *file, const char *link, const char *missing) {
    struct stat found = {};
    print("stat", stat(link, &found), found);
    found = {};
    print("lstat", lstat(link, &found), found);
    found = {};
    std::FILE *opened = std::fopen(file, "r");
    print("fstat", fstat(fileno(opened), &found), found);
    found = {};
    print("missing", stat(missing, &found), found);
}

struct noisy {
    const char *name;
    ~noisy() { std::printf("end of %s\n", name); }
};
thread_local noisy first{"first"}, second{"second"};

void print_thread_exits() {
    std::thread([] { std::printf("%s %s\n", first.name, second.name); }).join();
    std::printf("joined\n");
}

// A wait that nobody ends, on the clock that nobody sets.
void print_wait(std::chrono::milliseconds length) {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock<std::mutex> lock(mutex);
    const auto start = std::chrono::steady_clock::now();
    const bool timed_out = never.wait_for(lock, length) == std::cv_status::timeout;
    const auto waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("waited %d %.4f\n", timed_out, waited);
}

void print_numbers(double x) {
    const auto y = static_cast<float>(x);
    std::printf("double %a %a %a %a\n", std::exp(x), std::log(x), std::log2(x), std::pow(x, 1.7));
    std::printf("float %a %a %a %a\n", std::exp(y), std::log(y), std::log2(y), std::pow(y, 1.7f));
}

}  // namespace

int main(int, char **arguments) {
    print_files(arguments[1], arguments[2], arguments[3]);
    print_thread_exits();
    print_wait(std::chrono::milliseconds(-5));
    print_wait(std::chrono::milliseconds(1200));
    print_numbers(std::atof(arguments[4]));
    unsigned cpu = 1 << 20, node = 1 << 20;
    const int status = getcpu(&cpu, &node);
    std::printf("cpu %d %u %u\n", status, cpu, node);
    std::printf("random %u %u\n", arc4random(), arc4random());
    char bytes[16] = {};
    std::printf("entropy %d", getentropy(bytes, sizeof bytes));
    for (const char byte : bytes) std::printf(" %d", byte);
    std::printf("\n");
    try {
        throw noisy{"thrown"};
    } catch (const noisy &one) {
        std::printf("caught %s\n", one.name);
    }
}
