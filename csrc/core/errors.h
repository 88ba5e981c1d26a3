// The exceptions of the border, and the sentences they carry: what was expected, what came, where.
#pragma once

#include "core/python.h"

#include <new>
#include <string>

#include "core/call.h"

namespace llamacffi {

extern PyObject *LlamaError, *LlamaAssertionError, *LlamaValueError, *LlamaWarning, *LlamaOverflowWarning;

// Thrown by the assertion hook, through the frames of llama.cpp, to the guard.
struct assertion_failed {
    std::string message;
};

// A call would take more memory than there is.
struct more_than_memory : std::bad_alloc {
    const char *what() const noexcept override { return "needs more memory than this machine has"; }
};

bool add_exceptions(PyObject *module);

// The UTF-8 of a str, whose reference is taken.
std::string take_text(PyObject *text);

// What came, for a message: the type's name; of cdata, whose types have no name, all that it says of itself.
std::string type_name(PyObject *object);

// Parameter and C type; and the sentences about its value.
std::string described(const call &c, const parameter_row &row);
std::string too_short(const parameter_row &row, size_t wanted, size_t has);
std::string out_of_limits(long long least, long long most, long long number);

// Function, parameter and C type, as each message begins.
std::string subject(const call &c, const parameter_row &row);

// Whether the exception that is set was raised by Python code: what a user's own method raises comes out as it is.
bool is_raised_in_python();

// Whether the exception that is set only says that an object is no number; it is then taken back.
bool is_conversion_error();

// Raise TypeError: `detail` says what is accepted. All of these return false.
bool refuse_type(const call &c, const parameter_row &row, PyObject *given, const std::string &detail);

// Raise LlamaValueError: `detail` says what is wrong with the value.
bool refuse_value(const call &c, const parameter_row &row, const std::string &detail);

// Warn of an argument that is taken as ctypes takes it; false where the warning is an exception.
bool warn(const call &c, const parameter_row &row, PyObject *category, const std::string &detail);

// Raise `exception` in the place of whatever a foreign converter raised, and keep its reason.
bool refuse_reason(const call &c, const parameter_row &row, PyObject *exception);

// Raise `exception` again as it was, with its traceback.
void raise_again(PyObject *exception);

// Take the exception that is set now off the thread, as one object.
PyObject *take_exception();

}  // namespace llamacffi
