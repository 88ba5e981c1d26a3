// See engine.h.
#include "core/engine.h"

#include <ggml-backend.h>

#include "core/cpu_levels.h"

#if defined(LLAMACFFI_DRIVER) && defined(_WIN32)
#include <windows.h>
#elif defined(LLAMACFFI_DRIVER)
#include <dlfcn.h>
#endif

#ifdef LLAMACFFI_REGISTRY
extern "C" ggml_backend_reg_t LLAMACFFI_REGISTRY();
#endif

namespace llamacffi {

namespace {

#if defined(LLAMACFFI_REGISTRY)  // the function of the add-on's backend that finds its devices

void forget(ggml_log_level, const char *, void *) {}

bool has_devices() {
    ggml_log_set(forget, nullptr);  // it would greet on stderr, before anyone can ask it not to
    const ggml_backend_reg_t registry = LLAMACFFI_REGISTRY();
    ggml_log_set(nullptr, nullptr);
    return registry && ggml_backend_reg_dev_count(registry) > 0;
}

#elif defined(LLAMACFFI_DRIVER) && defined(_WIN32)

bool has_devices() { return LoadLibraryA(LLAMACFFI_DRIVER) != nullptr; }

#elif defined(LLAMACFFI_DRIVER)  // the driver's library: one that must not be asked yet

bool has_devices() { return dlopen(LLAMACFFI_DRIVER, RTLD_LAZY | RTLD_LOCAL) != nullptr; }

#else

bool has_devices() { return true; }

#endif

}  // namespace

bool find_devices() {
    const bool found = has_devices();
    if (!found) PyErr_SetString(PyExc_ImportError, "no driver of a " LLAMACFFI_ENGINE " device was found");
    return found;
}

PyObject *build_info(PyObject *, PyObject *) {
    PyObject *info = cpu_level_info();
    PyObject *own = Py_BuildValue("{s:s,s:s,s:s}", "engine", LLAMACFFI_ENGINE, "backends", LLAMACFFI_BACKENDS,
                                  "compiler", LLAMACFFI_COMPILER);
    if (!info || !own || PyDict_Update(info, own) != 0) Py_CLEAR(info);
    Py_XDECREF(own);
    return info;
}

}  // namespace llamacffi
