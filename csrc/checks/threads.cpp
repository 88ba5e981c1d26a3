// See threads.h.
#include "checks/threads.h"

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <string>

#include "checks/batches.h"
#include "checks/handle_table.h"
#include "checks/ownership.h"
#include "checks/places.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// How often the calls of this thread are inside of an object, and whether that bars their callbacks from it.
struct own_uses {
    unsigned reading = 0, changing = 0, brief = 0;
    bool inside = false, bars_readers = false, bars_changers = false;

    void add(const entered &one, const function_row &by, bool outer) {
        inside |= outer;
        brief += by.waits && one.how != access::LOOKS;
        reading += one.how == access::READS;
        changing += one.how == access::CHANGES;
        if (!outer || one.open) return;
        bars_readers |= one.how == access::CHANGES;
        bars_changers |= one.how != access::LOOKS;
    }

    void add(const call &c, const void *address, bool outer) {
        for (unsigned i = 0; i < c.n_inside; ++i) {
            if (c.inside[i].address == address) add(c.inside[i], c.function, outer);
        }
        if (!c.extras) return;
        for (const entered &one : c.extras->inside) {
            if (one.address == address) add(one, c.function, outer);
        }
    }
};

// The calls of this thread that run this one from a callback stand behind `current`; this one is none of them yet.
own_uses uses_of_this_thread(const call &c, const void *address) {
    own_uses own;
    own.add(c, address, false);
    for (const call *outer = current; outer; outer = outer->previous) own.add(*outer, address, true);
    return own;
}

bool meets_another(const call &c, const handle &one, access how) {
    if (!one.depth || how == access::LOOKS) return false;
    const own_uses own = uses_of_this_thread(c, one.address);
    const bool barred = how == access::CHANGES ? own.bars_changers : own.bars_readers;
    return barred || one.changing > own.changing || (how == access::CHANGES && one.reading > own.reading);
}

// Act on each object that a call uses, and how; false as soon as `act` says so.
template <typename Act>
bool for_used(const call &c, Act act) {
    for (unsigned i = 0; i < c.function.count; ++i) {
        const parameter_row &row = c.parameters()[i];
        if (row.handle == no_kind) continue;
        // With it what it reads that can change: the context of a batch_ext, the other context of one.
        handle *one = whole(handles.find(c.addresses[i]));
        for (; one; one = one->partner ? handles.find(one->partner) : nullptr) {
            if (!act(row, *one, handle_kinds[one->kind].exclusive ? row.how : access::LOOKS, row.open)) return false;
        }
    }
    for (unsigned i = 0; i < c.function.n_places; ++i) {
        const place_row &place = place_rows[c.function.first_place + i];
        const access how = handle_kinds[place.handle].exclusive ? access::CHANGES : access::LOOKS;
        const bool good = for_handles(c, place, [&](const void *address, size_t) {
            handle *one = address ? whole(handles.find(address)) : nullptr;
            return !one || act(c.parameters()[place.position], *one, how, false);
        });
        if (!good) return false;
    }
    if (!c.function.with_attached) return true;
    const unsigned at = c.function.computes != nowhere ? static_cast<unsigned>(c.function.computes) : 0;
    for (const attachment &attached : all_attachments()) {
        handle *one = attached.context == c.addresses[at] ? whole(handles.find(attached.address)) : nullptr;
        if (one && !act(c.parameters()[at], *one, access::CHANGES, false)) return false;
    }
    return true;
}

// The name by which `threading` knows a thread.
std::string thread_name(unsigned long ident) {
    std::string name = "that Python did not start";
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *all = threading ? PyObject_CallMethod(threading, "enumerate", nullptr) : nullptr;
    for (Py_ssize_t i = 0; all && i < PyList_Size(all); ++i) {
        PyObject *own = attribute(PyList_GetItem(all, i), "ident");
        if (own && PyLong_AsUnsignedLong(own) == ident)
            name = "'" + take_text(PyObject_GetAttrString(PyList_GetItem(all, i), "name")) + "'";
        Py_XDECREF(own);
    }
    Py_XDECREF(all);
    Py_XDECREF(threading);
    PyErr_Clear();
    return name;
}

// Python is asked last: the table may be another one afterwards.
std::string user_of(const handle &busy) {
    const function_row *inside = busy.inside;
    return inside ? ", " + thread_name(busy.thread) + ", in " + inside->name + "()" : "";
}

// Whether all that are in the way only read, and soon end.
bool will_soon_be_left(const call &c, const handle &busy, const own_uses &own) {
    const unsigned others = busy.reading + busy.changing - own.reading - own.changing;
    const unsigned all = c.function.frees == nowhere ? others : busy.depth;
    return !own.inside && all && all == busy.brief - own.brief;
}

enum class patience { WAITS, RAISES, UNKNOWN };

patience chosen() {
    const char *given = std::getenv("LLAMACFFI_BUSY");
    if (!given || !*given || std::string(given) == "wait") return patience::WAITS;
    if (std::string(given) == "raise") return patience::RAISES;
    PyErr_Format(LlamaValueError, "LLAMACFFI_BUSY should be wait or raise, not %s", given);
    return patience::UNKNOWN;
}

bool note_wait(call &c, const handle &busy) {
    c.awaits = busy.address;
    return false;
}

}  // namespace

bool refuse_busy(call &c, const parameter_row &row, const handle &busy) {
    const own_uses own = uses_of_this_thread(c, busy.address);
    if (will_soon_be_left(c, busy, own)) return note_wait(c, busy);
    if (c.function.waits && !current) {
        const patience now = chosen();
        if (now != patience::RAISES) return now == patience::WAITS && note_wait(c, busy);
    }
    const std::string kind = handle_kinds[busy.kind].name;
    const std::string used = busy.kind == row.handle ? "" : " uses a " + kind + " that";
    const std::string user = own.inside ? "the call that runs this callback" : "another thread" + user_of(busy);
    PyErr_Format(LlamaError, "%s%s is in use by %s", subject(c, row).c_str(), used.c_str(), user.c_str());
    return false;
}

namespace {

// A thread that calls again and again would never let those in that wait: it waits until they have been inside.
bool lets_others_in(const call &c, const handle &one, access how) {
    return one.waiting && how != access::LOOKS && !c.has_waited && !current;
}

// Whether the call may use the object now.
bool may_enter(call &c, const parameter_row &row, const handle &one, access how) {
    if (meets_another(c, one, how)) return refuse_busy(c, row, one);
    if (one.held && how == access::CHANGES && !c.function.waits) return refuse_held(c, row);
    return !lets_others_in(c, one, how) || note_wait(c, one);
}

}  // namespace

bool enter_handles(call &c) {
    const bool entered = for_used(c, [&](const parameter_row &row, handle &one, access how, bool open) {
        if (!may_enter(c, row, one, how)) return false;
        mark(c, one, how, open);
        return true;
    });
    entered ? enter_batch(c) : leave_handles(c);
    return entered;
}

bool ask_handles(call &c) {
    return for_used(
        c, [&](const parameter_row &row, handle &one, access how, bool) { return may_enter(c, row, one, how); });
}

void hold(const void *address) {
    if (handle *one = handles.find(address)) ++one->held;
}

void let_go(const void *address) {
    handle *one = handles.find(address);
    if (one && one->held) --one->held;
}

bool refuse_held(const call &c, const parameter_row &row) {
    PyErr_Format(LlamaError,
                 "%s is held by an array of its memory, which a function kept that a view was given to: let go of that "
                 "array, and give such a function view.copy()",
                 subject(c, row).c_str());
    return false;
}

// ---------------------------------------------------------------- waiting

unsigned waiting = 0;
std::mutex waiting_mutex;  // of `departures`; only who waits does so without the GIL

namespace {

constexpr auto between_looks = std::chrono::milliseconds(50);

uint64_t departures = 0;
// Never destroyed: a daemon thread may wait when the process ends, or when it forks.
std::condition_variable *left = new std::condition_variable;

void count_waiting(const void *address, int change) {
    waiting += static_cast<unsigned>(change);
    handle *one = handles.find(address);
    if (one && (change > 0 || one->waiting)) one->waiting = static_cast<uint16_t>(one->waiting + change);
}

// Until somebody leaves something, or it is time to look for Ctrl-C.
void wait_without_gil(call &c, uint64_t seen) {
    c.lock.leave();
    PyThreadState *state = PyEval_SaveThread();
    {
        std::unique_lock<std::mutex> lock(waiting_mutex);
        left->wait_for(lock, between_looks, [&] { return departures != seen; });
    }
    c.abandoned = true;  // at the interpreter's end the thread stops in the next line
    PyEval_RestoreThread(state);
    c.lock.enter();
    c.abandoned = false;
}

}  // namespace

void tell_waiting() {
    const std::lock_guard<std::mutex> lock(waiting_mutex);
    ++departures;
    left->notify_all();
}

bool wait_for_others(call &c) {
    const void *address = c.awaits;
    if (!address) return false;
    c.awaits = nullptr;
    c.has_waited = true;
    if (c.extras) c.extras->batch = nullptr;  // is found again
    count_waiting(address, 1);
    wait_without_gil(c, departures);
    count_waiting(address, -1);
    if (PyErr_CheckSignals() < 0) return tell_waiting(), false;
    return check_again(c);
}

void leave_marked(call &c) {
    while (c.n_inside) unmark(c.inside[--c.n_inside], c.function);
    if (c.extras) {
        for (const entered &one : c.extras->inside) unmark(one, c.function);
        c.extras->inside.clear();
        leave_batch(c);
    }
    if (waiting) tell_waiting();
}

void forget_users() {
    handles.for_each([](handle &one) { one.depth = one.reading = one.changing = one.brief = one.waiting = 0; });
    forget_readers_of_batches();
    waiting = 0;
    left = new std::condition_variable;
}

}  // namespace llamacffi
