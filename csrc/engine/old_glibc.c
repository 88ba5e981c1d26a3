// What the compiler's glibc has in a newer version than 2.17, for an extension that is to load with any since: compiled
// where there are several CPU levels, and a function of these names is this one for all that is linked with it, the C++
// library included. Most are bound to the version that every glibc has; what is newer than 2.17 altogether is done in a
// few lines. Which symbols these are tells tests/wheel/test_symbols.py, where one is missing.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#define OF_AFFINITY "GLIBC_2.3.4"
#elif defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#define OF_AFFINITY "GLIBC_2.17"
#else
#error "llamacffi: which versions of its symbols glibc 2.17 has on this CPU is not known: build one CPU level"
#endif

// Must be a macro: it makes a declaration of the name, with the type of the function. `old_f` is f in that version.
#define OLD(name, version)              \
    extern __typeof__(name) old_##name; \
    __asm__(".symver old_" #name ", " #name "@" version)

// ---------------------------------------------------------------- mathematics: the old versions set errno as well

OLD(exp, FIRST);
OLD(expf, FIRST);
OLD(log, FIRST);
OLD(log2, FIRST);
OLD(log2f, FIRST);
OLD(logf, FIRST);
OLD(pow, FIRST);
OLD(powf, FIRST);

double exp(double x) { return old_exp(x); }
float expf(float x) { return old_expf(x); }
double log(double x) { return old_log(x); }
double log2(double x) { return old_log2(x); }
float log2f(float x) { return old_log2f(x); }
float logf(float x) { return old_logf(x); }
double pow(double x, double y) { return old_pow(x, y); }
float powf(float x, float y) { return old_powf(x, y); }

// ---------------------------------------------------------------- libraries and threads: once in libdl and libpthread

OLD(dlclose, FIRST);
OLD(dlerror, FIRST);
OLD(dlopen, FIRST);
OLD(dlsym, FIRST);

int dlclose(void *library) { return old_dlclose(library); }
char *dlerror(void) { return old_dlerror(); }
void *dlopen(const char *path, int mode) { return old_dlopen(path, mode); }
void *dlsym(void *library, const char *name) { return old_dlsym(library, name); }

OLD(pthread_attr_getstack, FIRST);
OLD(pthread_attr_setstacksize, FIRST);
OLD(pthread_create, FIRST);
OLD(pthread_getaffinity_np, OF_AFFINITY);
OLD(pthread_getattr_np, FIRST);
OLD(pthread_getspecific, FIRST);
OLD(pthread_join, FIRST);
OLD(pthread_key_create, FIRST);
OLD(pthread_once, FIRST);
OLD(pthread_setaffinity_np, OF_AFFINITY);
OLD(pthread_setspecific, FIRST);
OLD(pthread_sigmask, FIRST);

int pthread_attr_getstack(const pthread_attr_t *attributes, void **stack, size_t *size) {
    return old_pthread_attr_getstack(attributes, stack, size);
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size) {
    return old_pthread_attr_setstacksize(attributes, size);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    return old_pthread_create(thread, attributes, run, argument);
}

int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *cpus) {
    return old_pthread_getaffinity_np(thread, size, cpus);
}

int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    return old_pthread_getattr_np(thread, attributes);
}

int pthread_join(pthread_t thread, void **result) { return old_pthread_join(thread, result); }
int pthread_once(pthread_once_t *once, void (*run)(void)) { return old_pthread_once(once, run); }

int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *cpus) {
    return old_pthread_setaffinity_np(thread, size, cpus);
}

int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before) {
    return old_pthread_sigmask(how, signals, before);
}

// glibc 2.30. A wait on the clock that may be set, as long as the other one says at the start: where that is set
// meanwhile, the caller wakes too early or too late, and looks at its own clock again.
int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *end) {
    const int64_t second = 1000000000;
    struct timespec now, until;
    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t left = (end->tv_sec - now.tv_sec) * second + end->tv_nsec - now.tv_nsec;
    const int64_t nanoseconds = until.tv_nsec + (left > 0 ? left : 0);
    until.tv_sec += nanoseconds / second;
    until.tv_nsec = nanoseconds % second;
    return pthread_cond_timedwait(condition, mutex, &until);
}

// glibc 2.32. Not known, so that reference counts of the C++ library are always atomic.
char __libc_single_threaded = 0;

// glibc 2.18: the destructors of a thread's variables. Those of the main thread are left to the end of the process.
struct at_thread_exit {
    void (*run)(void *);
    void *object;
    struct at_thread_exit *before;
};

static pthread_key_t at_thread_exits;
static int key_error;

static void run_all(void *last) {
    for (struct at_thread_exit *one = last, *before; one; one = before) {
        one->run(one->object);
        before = one->before;
        free(one);
    }
}

static void make_key(void) { key_error = old_pthread_key_create(&at_thread_exits, run_all); }

int __cxa_thread_atexit_impl(void (*run)(void *), void *object, void *library) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)library;  // Python unloads no extension
    old_pthread_once(&once, make_key);
    struct at_thread_exit *one = key_error ? NULL : malloc(sizeof *one);
    if (!one) return -1;
    *one = (struct at_thread_exit){run, object, old_pthread_getspecific(at_thread_exits)};
    return old_pthread_setspecific(at_thread_exits, one);
}

// ---------------------------------------------------------------- the kernel

int getcpu(unsigned *cpu, unsigned *node) { return (int)syscall(SYS_getcpu, cpu, node, NULL); }

static int stat_at(const char *path, struct stat *found, int flags) {
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, found, flags);
}

int stat(const char *path, struct stat *found) { return stat_at(path, found, 0); }
int lstat(const char *path, struct stat *found) { return stat_at(path, found, AT_SYMLINK_NOFOLLOW); }
int fstat(int file, struct stat *found) { return (int)syscall(SYS_fstat, file, found); }
int fstat64(int file, struct stat64 *found) { return (int)syscall(SYS_fstat, file, found); }

// A kernel of glibc 2.17's time has no getrandom.
static int read_urandom(void *buffer, size_t length) {
    const int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    const ssize_t got = file < 0 ? -1 : read(file, buffer, length);
    if (file >= 0) close(file);
    return got == (ssize_t)length ? 0 : -1;
}

int getentropy(void *buffer, size_t length) {
    const long got = syscall(SYS_getrandom, buffer, length, 0);
    if (got < 0 && errno == ENOSYS) return read_urandom(buffer, length);
    return got == (long)length ? 0 : -1;
}

uint32_t arc4random(void) {
    uint32_t bits;
    if (getentropy(&bits, sizeof bits) != 0) abort();  // as glibc's
    return bits;
}
