// Callbacks: kept alive as long as C may call them, their exceptions, and Ctrl-C.
//
// The way of an exception out of a Python callback is told in src/llamacffi/ctypes_types.py.
#pragma once

#include <Python.h>

#include <algorithm>
#include <chrono>
#include <unordered_map>
#include <vector>

#include "call.h"
#include "ctypes_objects.h"
#include "errors.h"

namespace llamacffi {

// ---------------------------------------------------------------- lifetime

struct kept_object {
    const parameter *row;  // the parameter that took it
    PyObject *object;
};

// What each owner (the address of a context, a model, a sampler; nullptr is the process) may call or read. It is
// only touched with the GIL held.
static std::unordered_map<const void *, std::vector<kept_object>> kept;

// A struct by value is copied by C, so what must live on is what its fields refer to.
static PyObject *referred_objects(PyObject *given) {
    PyObject *objects = metatype(given) == struct_type ? PyObject_GetAttrString(given, "_objects") : nullptr;
    PyObject *copy = objects && PyDict_Check(objects) ? PyDict_Copy(objects) : nullptr;
    Py_XDECREF(objects);
    PyErr_Clear();
    return copy;
}

static void keep(const void *owner, const parameter &row, PyObject *object, bool replace) {
    std::vector<kept_object> &all = kept[owner];
    auto same = std::find_if(all.begin(), all.end(), [&](const kept_object &one) {
        return replace ? compare(one.row->type.python, row.type.python) == 0 : one.row == &row && one.object == object;
    });
    Py_INCREF(object);
    if (same == all.end()) {
        all.push_back({&row, object});
        return;
    }
    std::swap(same->object, object);
    Py_DECREF(object);
}

static bool is_keepable(const type_row &type) {
    return type.what == kind::FUNCTION || type.what == kind::VALUE ||
           (type.what == kind::STRUCT && compare(type.python, "llama_sampler_i") == 0);
}

// Keep what the call handed to C: a setter replaces what it had handed over before.
static void keep_arguments(const call &c) {
    const kind result = c.what.result.what;
    if (!c.owner && (result == kind::HANDLE || result == kind::OBJECT)) return;  // nothing was created
    const bool replace = has_word(c.what.name, "set");
    for (unsigned i = 0; i < c.what.count; ++i) {
        const parameter &row = c.parameters()[i];
        PyObject *given = c.arguments[i];
        if (!is_keepable(row.type) || (given == Py_None && !replace)) continue;
        PyObject *object = row.type.what == kind::VALUE ? referred_objects(given) : given;
        if (object) keep(c.owner, row, object, replace);
        if (row.type.what == kind::VALUE) Py_XDECREF(object);
    }
}

constexpr bool keeps_arguments(const function &what) {
    if (what.result.what == kind::VALUE || what.frees) return false;
    for (unsigned i = 0; i < what.count; ++i) {
        const type_row &type = llamacffi_parameters[what.first + i].type;
        if (type.what == kind::FUNCTION || type.what == kind::VALUE) return compare(type.python, "llama_batch") != 0;
        if (type.what == kind::STRUCT && compare(type.python, "llama_sampler_i") == 0) return true;
    }
    return false;
}

// Take what `owner` keeps out of the table before C frees it: its address may be somebody else's right after.
static void take_kept(call &c, const void *owner) {
    auto found = kept.find(owner);
    if (!owner || found == kept.end()) return;
    if (!c.released) c.released = PyList_New(0);
    for (const kept_object &one : found->second) {
        if (c.released) PyList_Append(c.released, one.object);
        Py_DECREF(one.object);
    }
    kept.erase(found);
}

// ---------------------------------------------------------------- exceptions and Ctrl-C

using steady = std::chrono::steady_clock;
constexpr auto between_signal_checks = std::chrono::milliseconds(50);

// Run Python's signal handlers; called in C, on the thread of the call, where llama.cpp can stop.
static void check_signals(call &c) {
    static thread_local steady::time_point last;
    const auto now = steady::now();
    if (now - last < between_signal_checks) return;
    last = now;
    PyEval_RestoreThread(c.thread_state);
    if (PyErr_CheckSignals() < 0 && !c.pending) c.pending = take_exception();
    c.thread_state = PyEval_SaveThread();
}

// Whether the call should come to its end: a callback raised, or Ctrl-C was pressed.
static bool must_stop() {
    if (!current) return false;
    if (!current->pending && current->thread_state) check_signals(*current);
    return current->pending != nullptr;
}

}  // namespace llamacffi
