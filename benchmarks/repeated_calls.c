/* Calls of one Python function, again and again, that callgrind counts: for benchmarks/instructions.py, through ctypes. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <valgrind/callgrind.h>

int repeat_calls(PyObject *function, PyObject *arguments, long times, const char *label) {
    const Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    int failed = 0;
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_TOGGLE_COLLECT;
    for (long i = 0; i < times && !failed; ++i) {
        PyObject *result = PyObject_Vectorcall(function, &PyTuple_GET_ITEM(arguments, 0), (size_t)count, NULL);
        failed = !result;
        Py_XDECREF(result);
    }
    CALLGRIND_TOGGLE_COLLECT;
    CALLGRIND_DUMP_STATS_AT(label);
    CALLGRIND_STOP_INSTRUMENTATION;
    return failed;
}
