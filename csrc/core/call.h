// One call from Python into C: what it borrowed, what it logged, and what went wrong in its callbacks.
//
// A `call` lives on the stack of a built-in function. Everything that conversion borrows or allocates hangs on
// it, so that a later argument which fails to convert leaves nothing behind.
#pragma once

#include "core/python.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/border_lock.h"
#include "core/tables.h"
#include "core/thread_local.h"

namespace llamacffi {

extern LLAMACFFI_THREAD_LOCAL call *current;  // the innermost call of this thread that is in C

// How many calls of the process hold an exception of a callback: whoever finds none need not look for its own.
extern std::atomic<unsigned> calls_that_failed;

constexpr unsigned max_parameters = 32;
constexpr size_t unknown_size = SIZE_MAX;
constexpr size_t null_size = SIZE_MAX - 1;

// A handle that a call is inside of.
struct entered {
    const void *address;
    access how;
    bool open;  // callbacks of the call may use it too
};

// An object that goes with the last one that read it: the caller has freed it before.
struct unread_object {
    uint8_t kind;
    const void *address;
};

// What the fields of an argument, a struct by value, point to: a tuple.
struct held_objects {
    const parameter_row *row;
    PyObject *objects;
};

// What few calls have.
struct call_extras {
    std::string errors;                 // what llama.cpp logged as errors during the call
    bool deferred = false;              // what is freed is still read: its memory goes later
    const void *batch = nullptr;        // the batch of llama_batch_init among its arguments
    bool reads_batch = false;           // and whether it is inside of C with it
    std::vector<unread_object> unread;  // what goes with the freed object
    std::vector<PyObject *> released;   // what was kept for it, or was replaced; dropped after C is done with it
    std::vector<held_objects> held;     // dropped with the call
    std::vector<entered> inside;        // the handles that are marked beside the arguments
};

// What is written at the beginning of each call, and read at its end, stands together; of the arrays only what is used.
struct call {
    const function_row &function;
    PyObject *const *arguments;
    uint64_t generation = 0;  // of the table of handles, when the call began
    call *previous = nullptr;
    PyThreadState *thread_state = nullptr;  // set while the GIL is released
    PyObject *pending = nullptr;            // the exception of a callback, raised when the call ends
    call_extras *extras = nullptr;          // owned
    const void *owner = nullptr;            // the handle that keeps what this call hands to C
    const void *awaits = nullptr;           // the handle whose users have to leave first
    uint16_t n_views = 0;
    uint16_t n_blocks = 0;
    uint16_t n_inside = 0;
    bool has_waited = false;
    bool abandoned = false;  // the interpreter ended while C ran: touch no Python object
    border_lock lock;        // left while the GIL is released
    void *blocks[max_parameters];
    Py_buffer views[max_parameters];
    entered inside[max_parameters];         // the handles that are marked as in use
    const void *addresses[max_parameters];  // the handles among the arguments
    long long numbers[max_parameters];      // the integers among the arguments, where they are wanted
    const void *memory[max_parameters];     // the buffers among the arguments
    size_t sizes[max_parameters];           // bytes behind each pointer argument, as far as known

    call(const function_row &function_, PyObject *const *arguments_, locking how = locking::TAKES)
        : function(function_), arguments(arguments_), lock(how) {}
    call(const call &) = delete;
    call &operator=(const call &) = delete;

    ~call() {
        const bool holds_much = extras || pending || abandoned;
        if (holds_much || n_views || n_blocks) give_back();
    }

    void give_back();

    call_extras &more() {
        if (!extras) extras = new call_extras;
        return *extras;
    }

    void drop_released() {
        for (PyObject *one : extras->released) Py_DECREF(one);
        extras->released.clear();
    }

    const parameter_row *parameters() const { return parameter_rows + function.first; }

    // What is held for a struct by value, borrowed; or nullptr.
    PyObject *held_by(const parameter_row &row) const {
        for (size_t i = 0; extras && i < extras->held.size(); ++i) {
            if (extras->held[i].row == &row) return extras->held[i].objects;
        }
        return nullptr;
    }

    // Keep the exception of a callback that C called; the first one wins, the others follow from it. C may call it on
    // another thread (engine/deep_stack.h), while this one runs Python's signal handlers.
    void callback_failed(PyObject *exception);

    // Whether there is one, asked while C runs.
    bool is_to_stop() const;
};

// The position of a parameter's row in its function.
inline unsigned position_of(const call &c, const parameter_row &row) {
    return static_cast<unsigned>(&row - c.parameters());
}

// How many bytes are behind the pointer argument `position`, in a function that stands in C's place; a call that came
// through the function's address has no record, and nothing is known.
inline size_t size_behind(const call *c, unsigned position) { return c ? c->sizes[position] : unknown_size; }

// Whether a callback of this call left an exception.
inline bool has_failed(const call *c) { return c && c->pending; }

}  // namespace llamacffi
