"""Write llamacffi.h, by which another extension module calls the functions of the llama.cpp that this one holds.

It stands beside llama.cpp's own headers, and takes the place of the library to link: a table of pointers, which a
capsule of the extension hands over. The fingerprint is of all that both sides must agree on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from pycparser import c_ast, c_generator

from bindgen import trim_header
from bindgen.c_types import is_variadic

HEAD = """\
/* The functions of the llama.cpp that the Python package llamacffi holds, for C and C++ extension modules.
 *
 * Include it instead of llama.h, call import_llamacffi() once in the module's init function, and then llama.cpp's
 * functions as ever, without linking it. They are called through a table: `llamacffi_functions->llama_decode` is a
 * function's address. Handles go to and from Python as integers. What C calls here is not checked, as what it calls of
 * llama.cpp never is, and an object that was made here is unknown to the functions of Python.
 *
 * A module of several files defines LLAMACFFI_IMPORTED_ELSEWHERE in all but the one that imports. */
#ifndef LLAMACFFI_H
#define LLAMACFFI_H

#include <Python.h>
#include <stdio.h>
#include <string.h>

"""
TAIL = """
struct llamacffi_c_api {
    const char *fingerprint; /* of the headers */
    size_t n_functions;
    void *const *functions;
};

#ifdef __cplusplus
extern "C" {
#endif
#ifdef LLAMACFFI_IMPORTED_ELSEWHERE
extern const struct llamacffi_table *llamacffi_functions;
#else
const struct llamacffi_table *llamacffi_functions;

/* Returns 0, or -1 with an ImportError. */
static int import_llamacffi(void) {
    const struct llamacffi_c_api *api;
    PyObject *module = PyImport_ImportModule("llamacffi._llama");
    Py_XDECREF(module);
    api = module ? (const struct llamacffi_c_api *)PyCapsule_Import("llamacffi._llama._C_API", 0) : NULL;
    if (!api) return -1;
    if (strcmp(api->fingerprint, LLAMACFFI_FINGERPRINT) != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "this module was compiled with the headers of another llamacffi than the one that is "
                        "installed: compile it again");
        return -1;
    }
    llamacffi_functions = (const struct llamacffi_table *)api->functions;
    return 0;
}
#endif
#ifdef __cplusplus
}
#endif

"""


def fingerprint(header: trim_header.Header) -> str:
    return hashlib.sha256(header.cdef().encode()).hexdigest()[:16]


def functions(header: trim_header.Header) -> list[c_ast.Decl]:
    """The functions of the table, in its order."""
    return sorted((node for node in header.functions if not is_variadic(node)), key=lambda node: str(node.name))


def fingerprint_line(header: trim_header.Header) -> str:
    return f'inline constexpr char c_api_fingerprint[] = "{fingerprint(header)}";\n'


def text(header: trim_header.Header) -> str:
    """Write llamacffi.h."""
    return "".join(_parts(header))


def _parts(header: trim_header.Header) -> Iterator[str]:
    generator, all_functions = c_generator.CGenerator(), functions(header)
    yield HEAD
    yield from (f'#include "{name}"\n' for name in trim_header.HEADERS)
    yield f'\n#define LLAMACFFI_FINGERPRINT "{fingerprint(header)}"\n\nstruct llamacffi_table {{\n'
    yield from (f"    {_pointer(generator, node)};\n" for node in all_functions)
    yield "};\n" + TAIL
    # With parentheses, since some structs have the name of a function.
    yield from (f"#define {node.name}(...) (llamacffi_functions->{node.name})(__VA_ARGS__)\n" for node in all_functions)
    yield "\n#endif\n"


def _pointer(generator: c_generator.CGenerator, node: c_ast.Decl) -> str:
    return re.sub(rf"\b{node.name}\(", f"(*{node.name})(", str(generator.visit(node)), count=1)
