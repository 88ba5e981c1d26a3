// The short way of a call at which nothing can happen: C only looks, and the arguments are what they nearly always are.
//
// Such functions are `plain` in the policy. Their arguments are looked at without a record of the call: exact ints of
// Python's, in range; handles that the table knows as alive; arrays of ctypes. Whatever is anything else, right or
// wrong, goes the long way (`enter` in core/module.cpp), which converts it or says what is wrong with it.
#pragma once

#include "core/python.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "checks/handle_table.h"
#include "checks/kept.h"
#include "checks/lengths.h"
#include "convert/known_types.h"
#include "convert/results.h"
#include "core/border_lock.h"

namespace llamacffi {

// What asks for a record, or for a look at more than one argument at a time.
constexpr bool is_plain(const function_row &function) {
    if (!function.plain || function.deprecated) return false;
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].how != access::LOOKS) return false;
    }
    for (unsigned i = 0; i < function.n_formulas; ++i) {
        if (formula_rows[function.first_formula + i].kind != formula_kind::RANGE) return false;
    }
    const unsigned more = function.n_strings + function.n_reads + function.n_places;
    return !more && !function.creates && !function.gives_back && !function.after && !function.checks[0].check &&
           function.frees == nowhere && function.taken == nowhere && !keeps_arguments(function);
}

// ---------------------------------------------------------------- arguments

// What came, as C wants it, and how many bytes are behind a pointer.
template <typename T>
struct plain_value {
    T value;
    size_t size;
};

template <unsigned Row, typename T>
inline bool take_plain_integer(PyObject *given, T &value) {
    constexpr const parameter_row &row = parameter_rows[Row];
    if (!PyLong_CheckExact(given)) return false;
    int overflow;
    const long long number = PyLong_AsLongLongAndOverflow(given, &overflow);
    value = static_cast<T>(number);
    const bool fits = static_cast<long long>(value) == number && (std::is_signed_v<T> || number >= 0);
    return fits && !overflow && (!is_limited(row) || (number >= row.least && number <= row.most));
}

template <unsigned Row, typename T>
inline bool take_plain_handle(PyObject *given, T &value) {
    if (!PyLong_CheckExact(given)) return false;
    const size_t number = PyLong_AsSize_t(given);
    if (number == SIZE_MAX) return PyErr_Clear(), false;
    const void *address = reinterpret_cast<const void *>(number);
    const handle *known = handles.find(address);
    value = reinterpret_cast<T>(number);
    return known && known->kind == parameter_rows[Row].handle && known->life == life::LIVE;
}

template <unsigned Row, typename T>
inline bool take_plain(PyObject *given, plain_value<T> &taken) {
    constexpr const parameter_row &row = parameter_rows[Row];
    static_assert(row.values == nullptr, "a plain function takes no enum of which only some values are good");
    if constexpr (row.type.kind == type_kind::HANDLE) {
        return take_plain_handle<Row>(given, taken.value);
    } else if constexpr (row.type.kind == type_kind::ITEMS) {
        return find_array(row.type, given, reinterpret_cast<void **>(&taken.value), &taken.size);
    } else if constexpr (std::is_same_v<T, bool>) {
        taken.value = given == Py_True;
        return taken.value || given == Py_False;
    } else {
        static_assert(std::is_integral_v<T>, "a plain function takes handles, arrays, integers and bools");
        return take_plain_integer<Row>(given, taken.value);
    }
}

template <unsigned Function, typename Taken>
inline bool has_room([[maybe_unused]] const Taken &taken) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.n_bounds != 0) {
        static_assert(function.n_bounds == 1);
        constexpr const bound_row &bound = bound_rows[function.first_bound];
        constexpr size_t item = parameter_rows[function.first + bound.pointer].type.size;
        const auto count = std::get<bound.length>(taken).value;
        return count >= 0 && static_cast<size_t>(count) <= std::get<bound.pointer>(taken).size / item;
    }
    return true;
}

// ---------------------------------------------------------------- formulas

template <typename T>
inline void note_plain(call &c, unsigned position, T value) {
    if constexpr (std::is_pointer_v<T>)
        c.addresses[position] = value;
    else
        c.numbers[position] = static_cast<long long>(value);
}

// What formulas read of a record, of one that nothing else sees, and of which the compiler therefore leaves nothing.
template <unsigned Function, typename Taken, size_t... At, unsigned... Row>
inline bool holds_plainly(const Taken &taken, PyObject *const *arguments, std::index_sequence<At...>,
                          std::integer_sequence<unsigned, Row...>) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.n_formulas != 0 || function.where_plain != nullptr) {
        call c(function, arguments, locking::HAS);
        (note_plain(c, At, std::get<At>(taken).value), ...);
        if (function.where_plain && !function.where_plain(c).value()) return false;
        return (formula_holds<function_rows[Function].first_formula + Row>(c) && ...);
    }
    return true;
}

// ---------------------------------------------------------------- results

template <typename T>
inline PyObject *number_from(T number) {
    if constexpr (std::is_same_v<T, bool>)
        return PyBool_FromLong(number);
    else if constexpr (std::is_floating_point_v<T>)
        return PyFloat_FromDouble(number);
    else if constexpr (std::is_signed_v<T> || sizeof(T) < sizeof(long))
        return PyLong_FromLongLong(number);
    else
        return PyLong_FromUnsignedLongLong(number);
}

// False where the long way is to be gone after all.
template <unsigned Function, typename Result>
inline bool give_plain(const Result &given, PyObject *const *arguments, PyObject **result) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.result.kind == type_kind::HANDLE) {
        static_assert(!function.as_pointer);
        const handle *known = given ? handles.find(given) : nullptr;
        if (!known || known->kind != function.result_handle || known->life == life::FREED) return false;
        *result = PyLong_FromVoidPtr(const_cast<void *>(static_cast<const void *>(given)));
    } else if constexpr (function.result.kind == type_kind::VALUE) {
        *result = struct_from<Function>(&given, arguments);
    } else if constexpr (std::is_enum_v<Result>) {
        *result = from_enum<Function>(&given);
    } else if constexpr (function.result.kind == type_kind::TEXT) {
        *result = given ? PyBytes_FromString(given) : none();
    } else {
        *result = number_from(given);
    }
    return true;
}

template <unsigned Function, typename Result, typename... Parameters, size_t... At>
inline bool call_plain(Result (*c)(Parameters...), PyObject *const *arguments, PyObject **result,
                       std::index_sequence<At...>) {
    constexpr unsigned first = function_rows[Function].first;
    std::tuple<plain_value<Parameters>...> taken;
    const border_lock lock;
    if (!(take_plain<first + At>(arguments[At], std::get<At>(taken)) && ...)) return false;
    if (!has_room<Function>(taken)) return false;
    using formulas = std::make_integer_sequence<unsigned, function_rows[Function].n_formulas>;
    if (!holds_plainly<Function>(taken, arguments, std::index_sequence<At...>{}, formulas{})) return false;
    return give_plain<Function>(c(std::get<At>(taken).value...), arguments, result);
}

// Go the short way. False, without an exception, where it ends.
template <unsigned Function, typename Result, typename... Parameters>
inline bool call_plain(Result (*c)(Parameters...), PyObject *const *arguments, PyObject **result) {
    return call_plain<Function>(c, arguments, result, std::index_sequence_for<Parameters...>{});
}

}  // namespace llamacffi
