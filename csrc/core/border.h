// The border between Python and llama.cpp: included by the generated wrappers before anything of theirs.
//
// cffi's wrappers reach its backend through macros, which are defined anew here, so that each conversion, and
// each call, goes through our own code. They must be macros: they replace macros, and need the wrapper's
// __func__ and the spelling of its variables, by which the tables are searched at compile time.
#pragma once

#include "core/python.h"

#include "checks/before.h"
#include "checks/lengths.h"
#include "convert/handles.h"
#include "convert/numbers.h"
#include "convert/results.h"
#include "convert/values.h"
#include "core/call.h"
#include "core/cffi_backend.h"
#include "core/guard.h"
#include "core/tables.h"
#include "engine/adapters.h"
#include "engine/contexts.h"
#include "engine/ends.h"
#include "engine/logs.h"
#include "engine/media.h"
#include "engine/models.h"
#include "engine/quantize.h"
#include "engine/samplers.h"
#include "engine/saving.h"
#include "engine/states.h"
#include "engine/threads.h"

// Each wrapper becomes a part of the one function that calls it (core/module.cpp).
#ifdef _MSC_VER
#define LLAMACFFI_INLINE __forceinline
#else
#define LLAMACFFI_INLINE inline __attribute__((always_inline))
#endif

#define LLAMACFFI_FUNCTION_INDEX std::integral_constant<unsigned, llamacffi::function_index(__func__)>::value
#define LLAMACFFI_ROW_INDEX(argument) \
    std::integral_constant<unsigned, llamacffi::parameter_index(__func__, #argument)>::value
#define LLAMACFFI_ROW(argument) llamacffi::parameter_rows[LLAMACFFI_ROW_INDEX(argument)]
// Our built-in functions hand their call record to the wrapper in the place of the module.
#define LLAMACFFI_CALL (*reinterpret_cast<llamacffi::call *>(self))

namespace llamacffi {

// cffi's own converters, while their macros still mean them; the table behind them is filled when cffi initializes.
static cffi_functions own_converters() {
    return {_cffi_prepare_pointer_call_argument, _cffi_to_c_pointer, _cffi_to_c, _cffi_to_c_i64};
}

}  // namespace llamacffi

#undef _cffi_type
#undef _cffi_from_c_deref
#undef _cffi_to_c_int
#undef _cffi_to_c_float
#undef _cffi_to_c_double
#undef _cffi_to_c__Bool
#undef _cffi_to_c
#undef _cffi_to_c_pointer
#undef _cffi_prepare_pointer_call_argument
#undef _cffi_from_c_pointer
#undef _cffi_from_c_struct
#undef _cffi_restore_errno
#undef _cffi_save_errno
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS

#define _cffi_type(index) (&_cffi_types[index])
#define _cffi_from_c_deref(result, type) llamacffi::from_enum<LLAMACFFI_FUNCTION_INDEX>(result)
#define _cffi_to_c_int(argument, type)                                               \
    llamacffi::note_number<LLAMACFFI_FUNCTION_INDEX, LLAMACFFI_ROW_INDEX(argument)>( \
        LLAMACFFI_CALL, llamacffi::convert_number<type>(LLAMACFFI_CALL, LLAMACFFI_ROW(argument), argument))
#define _cffi_to_c_float(argument) llamacffi::convert_number<float>(LLAMACFFI_CALL, LLAMACFFI_ROW(argument), argument)
#define _cffi_to_c_double(argument) llamacffi::convert_number<double>(LLAMACFFI_CALL, LLAMACFFI_ROW(argument), argument)
#define _cffi_to_c__Bool(argument) _cffi_to_c_int(argument, bool)
#define _cffi_to_c(target, type, argument)                                                        \
    (llamacffi::convert_value(LLAMACFFI_CALL, LLAMACFFI_ROW(argument), type, argument, target) && \
             llamacffi::check_value<LLAMACFFI_ROW_INDEX(argument)>(LLAMACFFI_CALL, target)        \
         ? 0                                                                                      \
         : -1)
#define _cffi_to_c_pointer(argument, type)                    \
    llamacffi::check_callback<LLAMACFFI_ROW_INDEX(argument)>( \
        LLAMACFFI_CALL, llamacffi::convert_callback(LLAMACFFI_CALL, LLAMACFFI_ROW(argument), type, argument))
#define _cffi_prepare_pointer_call_argument(type, argument, target)                                           \
    llamacffi::convert_pointer<LLAMACFFI_FUNCTION_INDEX, LLAMACFFI_ROW_INDEX(argument)>(LLAMACFFI_CALL, type, \
                                                                                        argument, target)
#define _cffi_convert_array_argument(type, argument, target, size, blocks) (-1)
#define _cffi_from_c_pointer(result, type) llamacffi::from_pointer<LLAMACFFI_FUNCTION_INDEX>(LLAMACFFI_CALL, result)
#define _cffi_from_c_struct(result, type) llamacffi::from_struct<LLAMACFFI_FUNCTION_INDEX>(LLAMACFFI_CALL, result)
// No function of llama.cpp reports through errno.
#define _cffi_restore_errno() ((void)0)
#define _cffi_save_errno() ((void)0)

#define Py_BEGIN_ALLOW_THREADS                                                                            \
    if (!llamacffi::before<LLAMACFFI_FUNCTION_INDEX>(LLAMACFFI_CALL)) return nullptr;                     \
    llamacffi::running run(LLAMACFFI_CALL, llamacffi::function_rows[LLAMACFFI_FUNCTION_INDEX].keeps_gil); \
    try {                                                                                                 \
        llamacffi::check_formulas<LLAMACFFI_FUNCTION_INDEX>(LLAMACFFI_CALL);

#define Py_END_ALLOW_THREADS \
    }                        \
    LLAMACFFI_CATCH_UNWIND   \
    catch (...) {            \
        return run.failed(); \
    }                        \
    if (!run.leave()) return nullptr;

// The arguments come as an array whose length the built-in function has checked.
#define PyArg_UnpackTuple(arguments, name, least, most, ...) \
    llamacffi::unpack(reinterpret_cast<PyObject *const *>(arguments), __VA_ARGS__)

#define _cffi_init llamacffi_init
static PyObject *llamacffi_init(const char *name, Py_ssize_t version, const struct _cffi_type_context_s *context);

namespace llamacffi {

template <typename... Targets>
static inline bool unpack(PyObject *const *arguments, Targets... targets) {
    ((*targets = *arguments++), ...);
    return true;
}

}  // namespace llamacffi
