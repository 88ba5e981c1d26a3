// See kept.h.
#include "checks/kept.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "convert/results.h"
#include "core/ctypes_objects.h"

namespace llamacffi {

namespace {

struct kept_object {
    const parameter_row *row;  // the parameter that took it
    PyObject *object;
};

// By owner: the address of a context, a model, a sampler. It is only touched with the border's lock held.
std::unordered_map<const void *, std::vector<kept_object>> kept;

// A struct by value is copied by C, so what must live on is what its fields referred to when it was converted: a new
// reference, or nullptr with an exception. cdata keeps nothing that we could ask for.
PyObject *what_to_keep(const call &c, const parameter_row &row, PyObject *given) {
    if (row.type.kind != type_kind::VALUE) return pinned(given);
    PyObject *held = c.held_by(row), *objects = held ? held : Py_None;
    Py_INCREF(objects);
    return objects;
}

// What takes the place of what: a setter's argument that of the same callback type.
bool is_replaced(const kept_object &one, const parameter_row &row, PyObject *object) {
    if (row.kept == keeping::REPLACES) return compare(one.row->type.python, row.type.python) == 0;
    return one.row == &row && one.object == object;
}

}  // namespace

void keep_alive(const void *owner, const parameter_row &row, PyObject *object, std::vector<PyObject *> &replaced) {
    std::vector<kept_object> &all = kept[owner];
    auto same =
        std::find_if(all.begin(), all.end(), [&](const kept_object &one) { return is_replaced(one, row, object); });
    Py_INCREF(object);
    if (same == all.end()) {
        all.push_back({&row, object});
        return;
    }
    replaced.push_back(same->object);
    same->object = object;
}

bool keep_arguments(call &c) {
    if (!c.owner && makes_owner(c.function)) return true;  // nothing was created
    for (unsigned i = 0; i < c.function.count; ++i) {
        const parameter_row &row = c.parameters()[i];
        if (row.kept == keeping::NOT || (c.arguments[i] == Py_None && row.kept == keeping::KEEPS)) continue;
        PyObject *object = what_to_keep(c, row, c.arguments[i]);
        if (!object) return false;
        keep_alive(c.owner, row, object, c.more().released);
        Py_DECREF(object);
    }
    return true;
}

void keep_replaced(call &c) {
    static constexpr parameter_row no_parameter{{type_kind::VOID, 0, 0, false, ""}};
    if (!c.extras) return;
    for (PyObject *one : c.extras->released) kept[c.owner].push_back({&no_parameter, one});
    c.extras->released.clear();
}

void copy_kept(const void *copy, const void *original) {
    auto found = kept.find(original);
    if (copy == original || found == kept.end()) return;
    const std::vector<kept_object> all = found->second;
    for (const kept_object &one : all) Py_INCREF(one.object);
    std::vector<kept_object> &own = kept[copy];
    own.insert(own.end(), all.begin(), all.end());
}

void take_kept(const void *owner, std::vector<PyObject *> &taken) {
    auto found = kept.find(owner);
    if (!owner || found == kept.end()) return;
    for (const kept_object &one : found->second) taken.push_back(one.object);
    kept.erase(found);
}

}  // namespace llamacffi
