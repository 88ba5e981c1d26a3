// See kept.h.
#include "checks/kept.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "core/ctypes_objects.h"

namespace llamacffi {

namespace {

struct kept_object {
    const parameter_row *row;  // the parameter that took it
    PyObject *object;
};

// By owner: the address of a context, a model, a sampler. It is only touched with the GIL held.
std::unordered_map<const void *, std::vector<kept_object>> kept;

// A struct by value is copied by C, so what must live on is what its fields refer to.
PyObject *referred_objects(PyObject *given) {
    PyObject *objects = metatype(given) == struct_type ? attribute(given, "_objects") : nullptr;
    PyObject *copy = objects && PyDict_Check(objects) ? PyDict_Copy(objects) : nullptr;
    Py_XDECREF(objects);
    return copy;
}

// What takes the place of what: a setter's argument that of the same callback type.
bool is_replaced(const kept_object &one, const parameter_row &row, PyObject *object) {
    if (row.kept == keeping::REPLACES) return compare(one.row->type.python, row.type.python) == 0;
    return one.row == &row && one.object == object;
}

}  // namespace

void keep_alive(const void *owner, const parameter_row &row, PyObject *object) {
    std::vector<kept_object> &all = kept[owner];
    auto same =
        std::find_if(all.begin(), all.end(), [&](const kept_object &one) { return is_replaced(one, row, object); });
    Py_INCREF(object);
    if (same == all.end()) {
        all.push_back({&row, object});
        return;
    }
    std::swap(same->object, object);
    Py_DECREF(object);
}

void keep_arguments(const call &c) {
    const type_kind result = c.function.result.kind;
    if (!c.owner && (result == type_kind::HANDLE || result == type_kind::OBJECT)) return;  // nothing was created
    for (unsigned i = 0; i < c.function.count; ++i) {
        const parameter_row &row = c.parameters()[i];
        PyObject *given = c.arguments[i];
        if (row.kept == keeping::NOT || (given == Py_None && row.kept == keeping::KEEPS)) continue;
        const bool by_value = row.type.kind == type_kind::VALUE;
        PyObject *object = by_value ? referred_objects(given) : given;
        if (object) keep_alive(c.owner, row, object);
        if (by_value) Py_XDECREF(object);
    }
}

void take_kept(call &c, const void *owner) {
    auto found = kept.find(owner);
    if (!owner || found == kept.end()) return;
    if (!c.released) c.released = PyList_New(0);
    for (const kept_object &one : found->second) {
        if (c.released) PyList_Append(c.released, one.object);
        Py_DECREF(one.object);
    }
    kept.erase(found);
}

}  // namespace llamacffi
