/* What is thrown while a graph is computed, on its way from any of the graph's threads to the one that asked for it.
 *
 * A thread that fails marks its graph as abandoned (waits.c); the others see it at their next barrier and leave the
 * graph as well, by an exception of their own. When all have left, the thread that asked for the graph throws the first
 * failure again. waits.c knows ggml's structs, graph_guard.cpp catches and throws, core/guard.cpp asks.
 */
#ifndef LLAMACFFI_GRAPH_GUARD_H
#define LLAMACFFI_GRAPH_GUARD_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct llamacffi_graph;    /* one computation, on the stack of the thread that asked for it */
struct llamacffi_failures; /* what its threads threw */

/* ---------------------------------------------------------------- graph_guard.cpp */

/* Compute the graph; throw what any of its threads threw. */
void llamacffi_guard_graph(struct llamacffi_graph *graph);

/* Let a worker of a pool work until its pool ends; false when it had to leave a graph, and can go on with the next. */
bool llamacffi_guard_worker(void *worker);

/* Leave the graph, because another thread has failed in it: throws. */
void llamacffi_leave_graph(void);

/* A pool cannot be made: throw. */
void llamacffi_lack_memory(void);
void llamacffi_lack_thread(int started, int wanted, int code);

/* Whether this thread is a pool's worker, and what it throws in its graph is caught where the graph was asked for. */
bool llamacffi_graph_catches(void);

/* Whether what is thrown on this thread is caught by a call from Python; the extension sets it. */
extern bool (*llamacffi_is_inside_call)(void);

/* ---------------------------------------------------------------- waits.c */

void llamacffi_compute(struct llamacffi_graph *graph, struct llamacffi_failures *failures);
void llamacffi_work(void *worker);

struct llamacffi_failures *llamacffi_failures_of(const void *worker);

/* Mark the graph as abandoned and wake who waits in it. */
void llamacffi_abandon(struct llamacffi_graph *graph);
void llamacffi_abandon_of(const void *worker);

/* How many workers take part in the graph, or will as soon as they wake up. */
int llamacffi_workers_of(const struct llamacffi_graph *graph);

/* All have left: make the pool ready for the next graph. */
void llamacffi_clear_abandoned(struct llamacffi_graph *graph);

#ifdef __cplusplus
}
#endif

#endif
