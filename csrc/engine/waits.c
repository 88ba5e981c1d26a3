/* Compiled in the place of llama.cpp's ggml-cpu.c, which it includes unchanged: ggml's two waits, made to give way, and
 * the two functions that compute graphs, made to survive what is thrown in them.
 *
 * Upstream's threads wait for each other (`ggml_barrier`) and for work (the poll of a thread pool) by spinning alone.
 * That is good where every thread has a core to itself; where it has none, a thread that spins keeps the core from the
 * very thread it waits for. Here a wait spins a little, yields a little, and then sleeps until it is woken.
 *
 * A failed assertion throws (core/guard.cpp), and a thread that has left its graph would be waited for in vain. So a
 * graph can be abandoned: graph_guard.h tells how.
 *
 * The macros below take upstream's definitions of these functions out of the way, by the first word of their
 * parameters (`struct`), and leave the calls alone; behind the #include stand our own. csrc/CMakeLists.txt looks at
 * upstream's text first, and stops the build with a sentence where this would not fit any more.
 */
#ifndef _WIN32
#include <pthread.h>
#endif
#include <stdbool.h>
#include <stdint.h>

#include "ggml-cpu.h"
#include "ggml-impl.h"
#include "graph_guard.h"

struct ggml_threadpool;
struct ggml_compute_state;

void ggml_barrier(struct ggml_threadpool *pool);
enum ggml_status ggml_graph_compute_of_upstream(struct ggml_cgraph *graph, struct ggml_cplan *plan);
static inline bool ggml_graph_compute_poll_for_work(struct ggml_compute_state *state);

/* `NAME(struct …)` becomes `NAME_of_upstream(struct …)`, and `NAME(anything else)` stays. These must be macros: they
 * rename what upstream defines. */
#define LLAMACFFI_SECOND(first, second, ...) second
#define LLAMACFFI_CHOOSE(...) LLAMACFFI_SECOND(__VA_ARGS__)
#define LLAMACFFI_BARRIER_struct , ggml_barrier_of_upstream,
#define LLAMACFFI_POLL_struct , ggml_graph_compute_poll_for_work_of_upstream,
#define LLAMACFFI_COMPUTE_struct , ggml_graph_compute_of_upstream,
#define ggml_barrier(...) LLAMACFFI_CHOOSE(LLAMACFFI_BARRIER_##__VA_ARGS__, ggml_barrier, )(__VA_ARGS__)
#define ggml_graph_compute_poll_for_work(...) \
    LLAMACFFI_CHOOSE(LLAMACFFI_POLL_##__VA_ARGS__, ggml_graph_compute_poll_for_work, )(__VA_ARGS__)
#define ggml_graph_compute(graph, plan) LLAMACFFI_CHOOSE(LLAMACFFI_COMPUTE_##graph, ggml_graph_compute, )(graph, plan)

/* The function of a worker is called through its address alone, so `NAME(` declares or defines it. */
#define ggml_graph_compute_secondary_thread(...)   \
    (ggml_graph_compute_secondary_thread)(void *); \
    static thread_ret_t ggml_graph_compute_secondary_thread_of_upstream(__VA_ARGS__)

/* A pool takes what these give it unasked. */
static void *memory_of_pool(size_t size);
#define ggml_aligned_malloc memory_of_pool
#ifndef _WIN32
static int start_worker(pthread_t *thread, void *(*work)(void *), void *worker);
#define pthread_create(thread, attributes, work, worker) start_worker(thread, work, worker)
#endif

#include LLAMACFFI_GGML_CPU_C

#undef ggml_aligned_malloc
#undef pthread_create
#undef ggml_barrier
#undef ggml_graph_compute_poll_for_work
#undef ggml_graph_compute
#undef ggml_graph_compute_secondary_thread

/* ---------------------------------------------------------------- pools that cannot be made */

static void *memory_of_pool(size_t size) {
    void *memory = ggml_aligned_malloc(size);
    if (!memory) llamacffi_lack_memory();
    return memory;
}

#ifndef _WIN32
/* Upstream would assert, and leave the threads before this one to themselves. */
static int start_worker(pthread_t *thread, void *(*work)(void *), void *worker) {
    const int code = pthread_create(thread, NULL, work, worker);
    if (!code) return 0;
    struct ggml_threadpool *pool = ((struct ggml_compute_state *)worker)->threadpool;
    const int wanted = pool->n_threads;
    pool->n_threads = (int)((struct ggml_compute_state *)worker - pool->workers);
    const int started = pool->n_threads;
    ggml_threadpool_free(pool);
    llamacffi_lack_thread(started, wanted, code);
    return code;
}
#endif

/* ---------------------------------------------------------------- asleep until woken */

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#elif defined(_MSC_VER)
#pragma comment(lib, "Synchronization")
#endif

/* Where the threads of a pool sleep in a barrier. Pools whose addresses meet in one bed wake each other for nothing. */
enum { N_BEDS = 64 };

struct bed {
    GGML_CACHE_ALIGN atomic_int sleepers;
#if !defined(__linux__) && !defined(_WIN32)
    pthread_mutex_t mutex;
    pthread_cond_t woken;
#endif
};

#if defined(__linux__) || defined(_WIN32)
static struct bed beds[N_BEDS];
#else
static struct bed beds[N_BEDS] = {
    [0 ... N_BEDS - 1] = {.mutex = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER}};
#endif

static struct bed *bed_of(const struct ggml_threadpool *pool) { return &beds[((uintptr_t)pool >> 6) % N_BEDS]; }

/* This bit of a pool's count of passed barriers says that its graph is abandoned: whoever looks at the count sees it. A
 * thread sets it that will not come to the graph's next barrier, so nobody passes that one meanwhile. */
enum { ABANDONED = INT_MIN };

static bool has_passed(struct ggml_threadpool *pool, int passed) {
    return atomic_load_explicit(&pool->n_barrier_passed, memory_order_acquire) != passed;
}

/* Either the sleeper sees that the barrier has passed, or the thread that lets it pass sees the sleeper: both first
 * write and then read, in one order for all threads. */
static void sleep_until_passed(struct ggml_threadpool *pool, int passed) {
    struct bed *bed = bed_of(pool);
    atomic_fetch_add_explicit(&bed->sleepers, 1, memory_order_seq_cst);
#if defined(__linux__)
    while (!has_passed(pool, passed)) {
        syscall(SYS_futex, (void *)&pool->n_barrier_passed, FUTEX_WAIT_PRIVATE, passed, NULL, NULL, 0);
    }
#elif defined(_WIN32)
    while (!has_passed(pool, passed)) {
        WaitOnAddress((volatile VOID *)&pool->n_barrier_passed, &passed, sizeof passed, INFINITE);
    }
#else
    pthread_mutex_lock(&bed->mutex);
    while (!has_passed(pool, passed)) pthread_cond_wait(&bed->woken, &bed->mutex);
    pthread_mutex_unlock(&bed->mutex);
#endif
    atomic_fetch_add_explicit(&bed->sleepers, -1, memory_order_seq_cst);
}

static void wake_sleepers(struct ggml_threadpool *pool) {
    struct bed *bed = bed_of(pool);
    if (!atomic_load_explicit(&bed->sleepers, memory_order_seq_cst)) return;
#if defined(__linux__)
    syscall(SYS_futex, (void *)&pool->n_barrier_passed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#elif defined(_WIN32)
    WakeByAddressAll((PVOID)&pool->n_barrier_passed);
#else
    pthread_mutex_lock(&bed->mutex);
    pthread_cond_broadcast(&bed->woken);
    pthread_mutex_unlock(&bed->mutex);
#endif
}

/* ---------------------------------------------------------------- spin, yield, sleep */

/* Of what was tried on two cores, the best beside others and as good as any alone (docs/performance.md): a short spin,
 * because the core may be needed; many yields, because one that nobody takes up costs less than being woken; and none
 * for a while once one took a whole time slice, because who sleeps gets its core back when it is woken. */
enum {
    SPINS = 64,         /* a microsecond or two */
    YIELDS = 1000,      /* half a millisecond, if nobody else wants the core */
    LONG_YIELD = 2000,  /* microseconds: longer than a thread of ours computes between two waits */
    NO_YIELDS = 100,    /* so many waits then sleep at once */
    POLL = 20,          /* microseconds a poll level: 50, the default, is a millisecond */
    POLL_SPINS = 256,   /* before a poll yields as well */
    ROUNDS_A_LOOK = 64, /* of a poll, between two looks at the clock */
};

#ifdef _MSC_VER
#define LLAMACFFI_THREAD_LOCAL __declspec(thread)
#else
#define LLAMACFFI_THREAD_LOCAL _Thread_local
#endif

static LLAMACFFI_THREAD_LOCAL int waits_without_yield;

/* Whether the barrier passed while this thread kept its core. */
static bool passes_while_spinning(struct ggml_threadpool *pool, int passed) {
    for (int i = 0; i < SPINS; ++i) {
        if (has_passed(pool, passed)) return true;
        ggml_thread_cpu_relax();
    }
    return false;
}

static bool passes_while_yielding(struct ggml_threadpool *pool, int passed) {
    if (waits_without_yield > 0) return --waits_without_yield, false;
    int64_t before = ggml_time_us();
    for (int i = 0; i < YIELDS && !has_passed(pool, passed); ++i) {
        sched_yield();
        const int64_t now = ggml_time_us();
        if (now - before > LONG_YIELD) {
            waits_without_yield = NO_YIELDS;
            break;
        }
        before = now;
    }
    return has_passed(pool, passed);
}

/* Not a later graph, where this thread was slow to leave the last barrier of one that went well. */
static bool has_been_abandoned(struct ggml_threadpool *pool, int passed) {
    return atomic_load_explicit(&pool->n_barrier_passed, memory_order_relaxed) == (passed | ABANDONED);
}

void ggml_barrier(struct ggml_threadpool *pool) {
    const int n_threads = atomic_load_explicit(&pool->n_graph, memory_order_relaxed) & GGML_THREADPOOL_N_THREADS_MASK;
    if (n_threads == 1) return;
    const int passed = atomic_load_explicit(&pool->n_barrier_passed, memory_order_relaxed);
    if (passed < 0) llamacffi_leave_graph();
    if (atomic_fetch_add_explicit(&pool->n_barrier, 1, memory_order_seq_cst) == n_threads - 1) {
        atomic_store_explicit(&pool->n_barrier, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->n_barrier_passed, passed == INT_MAX ? 0 : passed + 1, memory_order_seq_cst);
        wake_sleepers(pool);
        return;
    }
    if (!passes_while_spinning(pool, passed) && !passes_while_yielding(pool, passed)) sleep_until_passed(pool, passed);
    if (has_been_abandoned(pool, passed)) llamacffi_leave_graph();
}

/* A worker with nothing to do: it spins for as long as its pool's poll level says, giving way to whoever wants the
 * core, and then sleeps in upstream's own way, on the pool's condition. */
static inline bool ggml_graph_compute_poll_for_work(struct ggml_compute_state *state) {
    const int64_t until = ggml_time_us() + (int64_t)POLL * state->threadpool->poll;
    for (int64_t i = 0; !ggml_graph_compute_thread_ready(state); ++i) {
        if (i % ROUNDS_A_LOOK == 0 && ggml_time_us() >= until) break;
        if (i > POLL_SPINS) sched_yield();
        ggml_thread_cpu_relax();
    }
    return state->pending;
}

/* ---------------------------------------------------------------- graphs that may fail */

/* Begins with the plan, whose address upstream hands to all threads. */
struct llamacffi_graph {
    struct ggml_cplan plan;
    struct ggml_cgraph *graph;
    bool owns_pool;
    struct llamacffi_failures *failures;
    int graphs_before; /* of the pool */
    enum ggml_status status;
};

void llamacffi_compute(struct llamacffi_graph *graph, struct llamacffi_failures *failures) {
    graph->failures = failures;
    graph->graphs_before = atomic_load_explicit(&graph->plan.threadpool->n_graph, memory_order_relaxed);
    graph->status = ggml_graph_compute_of_upstream(graph->graph, &graph->plan);
}

/* Upstream calls the functions that its tables have for a type, and does not ask whether they are there: a file may
 * have weights of a type that is made for the time of a product alone, or of whole numbers. */
static void require_functions(const struct ggml_cgraph *graph) {
    for (int i = 0; i < graph->n_nodes; ++i) {
        const struct ggml_tensor *node = graph->nodes[i];
        if (!node->src[0]) continue;
        const enum ggml_type type = node->src[0]->type;
        const bool is_product = node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID;
        const bool is_whole = !ggml_is_quantized(type) || ggml_get_type_traits(type)->to_float;
        if (!is_whole || (is_product && !type_traits_cpu[type].vec_dot))
            GGML_ABORT("the CPU cannot compute %s with type %s", ggml_op_name(node->op), ggml_type_name(type));
    }
}

/* Upstream would not free a pool of its own that it throws past, so it gets one from here. */
enum ggml_status ggml_graph_compute(struct ggml_cgraph *cgraph, struct ggml_cplan *plan) {
    if (!plan || plan->n_threads < 1) return ggml_graph_compute_of_upstream(cgraph, plan); /* which refuses it */
    require_functions(cgraph);
    struct llamacffi_graph graph = {.plan = *plan, .graph = cgraph, .owns_pool = !plan->threadpool};
    if (graph.owns_pool) {
        struct ggml_threadpool_params params = ggml_threadpool_params_default(plan->n_threads);
        graph.plan.threadpool = ggml_threadpool_new(&params);
    }
    llamacffi_guard_graph(&graph);
    if (graph.owns_pool) ggml_threadpool_free(graph.plan.threadpool);
    return graph.status;
}

void llamacffi_work(void *worker) { ggml_graph_compute_secondary_thread_of_upstream(worker); }

static thread_ret_t ggml_graph_compute_secondary_thread(void *worker) {
    while (!llamacffi_guard_worker(worker)) continue;
    return 0;
}

static struct llamacffi_graph *graph_of(const void *worker) {
    return (struct llamacffi_graph *)((const struct ggml_compute_state *)worker)->threadpool->cplan;
}

struct llamacffi_failures *llamacffi_failures_of(const void *worker) { return graph_of(worker)->failures; }

void llamacffi_abandon(struct llamacffi_graph *graph) {
    atomic_fetch_or_explicit(&graph->plan.threadpool->n_barrier_passed, ABANDONED, memory_order_seq_cst);
    wake_sleepers(graph->plan.threadpool);
}

void llamacffi_abandon_of(const void *worker) { llamacffi_abandon(graph_of(worker)); }

int llamacffi_workers_of(const struct llamacffi_graph *graph) {
    const int graphs = atomic_load_explicit(&graph->plan.threadpool->n_graph, memory_order_relaxed);
    return graphs == graph->graphs_before ? 0 : (graphs & GGML_THREADPOOL_N_THREADS_MASK) - 1;
}

void llamacffi_clear_abandoned(struct llamacffi_graph *graph) {
    struct ggml_threadpool *pool = graph->plan.threadpool;
    atomic_store_explicit(&pool->n_barrier, 0, memory_order_relaxed);
    atomic_fetch_and_explicit(&pool->n_barrier_passed, ~ABANDONED, memory_order_seq_cst);
    clear_numa_thread_affinity();
    if (graph->owns_pool) ggml_threadpool_free(pool);
}

/* ---------------------------------------------------------------- fork */

void llamacffi_forget_workers(struct ggml_threadpool *pool);

/* In a child of fork the workers of a pool are gone, and may have held its lock. */
void llamacffi_forget_workers(struct ggml_threadpool *pool) {
    ggml_mutex_init(&pool->mutex);
    ggml_cond_init(&pool->cond);
    pool->n_threads = 1;
    pool->pause = false;
}
