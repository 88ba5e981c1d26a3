// What guards the border's tables where CPython has no GIL: one lock, which plays the GIL's part for them. With the GIL
// there is nothing to it.
//
// A call holds it as it holds the GIL: from its beginning to its end, but not while C runs without the GIL. It is a
// critical section of CPython's, and so gives way as the GIL does: to whom this thread waits for, inside of any
// function of Python's. More of these can wait than with the GIL, each that locks an object of its own: what was found
// in a table before one is asked for again after it.
#pragma once

#include "core/python.h"

namespace llamacffi {

// Whoever holds the lock does not take it once more: CPython would let it go first, as for any other lock that a thread
// waits for, and what was found under it would be found no more.
enum class locking { TAKES, HAS };

#ifdef Py_GIL_DISABLED

inline PyObject *border;  // the object whose lock it is

inline bool make_border_lock() {
    border = PyObject_CallNoArgs(reinterpret_cast<PyObject *>(&PyBaseObject_Type));
    return border != nullptr;
}

// Holds the lock of an object.
class object_lock {
  public:
    explicit object_lock(PyObject *object, locking how = locking::TAKES) : object_(object) {
        if (how == locking::TAKES) enter();
    }
    object_lock(const object_lock &) = delete;
    object_lock &operator=(const object_lock &) = delete;

    // At the interpreter's end CPython may unwind a thread that has lost its state, and its locks with it.
    ~object_lock() {
        if (held_ && PyThreadState_GetUnchecked()) leave();
    }

    void enter() {
        PyCriticalSection_Begin(&section_, object_);
        held_ = true;
    }

    void leave() {
        if (held_) PyCriticalSection_End(&section_);
        held_ = false;
    }

  private:
    PyObject *object_;
    PyCriticalSection section_;
    bool held_ = false;
};

struct border_lock : object_lock {
    explicit border_lock(locking how = locking::TAKES) : object_lock(border, how) {}
};

#else

inline bool make_border_lock() { return true; }

struct object_lock {
    explicit object_lock(PyObject *) {}
    ~object_lock() {}  // not trivial, so that no compiler takes one for an unused variable
    void enter() {}
    void leave() {}
};

struct border_lock : object_lock {
    explicit border_lock(locking = locking::TAKES) : object_lock(nullptr) {}
};

#endif

}  // namespace llamacffi
