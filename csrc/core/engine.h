// Which engine this extension is, the package's own or an add-on's, and whether an add-on's driver is here.
#pragma once

#include "core/python.h"

namespace llamacffi {

// Whether the backend of an add-on has a device; false with an ImportError set. Called before anything else of ggml.
bool find_devices();

// A dict for build_info(): how the extension was built, and what of it runs here.
PyObject *build_info(PyObject *, PyObject *);

}  // namespace llamacffi
