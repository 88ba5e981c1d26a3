"""The ctypes types of the C API, derived from what the compiler said about it, so that they cannot drift.

Each type is made when it is first asked for. `named` is also what the extension calls to learn which ctypes type a
C result has.

How an exception comes out of a Python callback: C cannot carry it. So a callback type wraps the function that
it is given; what the function raises is kept by the extension (`guarded`) in the record
of the call that runs on this thread, and C gets the answer that stops it soonest: "abort" from an abort callback,
"do not go on" from a progress or an eval callback, nothing from the others. Between the nodes of a graph and
between the tensors of a file the extension looks whether an exception waits, and stops there too. When the C
function returns, its result is dropped and the exception is raised again, with its traceback, by the call. An
exception in a callback that runs outside of any call, or on a thread of the engine, goes to `sys.unraisablehook`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import weakref
from itertools import groupby

from llamacffi import declarations, old_code
from llamacffi._native import ffi, guarded, lib, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# C's primitive types whose ctypes name is not `c_` and the C name.
_PRIMITIVES = {
    "_Bool": ctypes.c_bool,
    "char": ctypes.c_char,
    "double": ctypes.c_double,
    "float": ctypes.c_float,
    "int": ctypes.c_int,
    "long": ctypes.c_long,
    "size_t": ctypes.c_size_t,
    "unsigned char": ctypes.c_ubyte,
    "unsigned int": ctypes.c_uint,
}

# What a callback that raised answers for C, where zero is not the answer that stops it.
_STOPS = {"ggml_abort_callback": True}

# Callbacks of ggml that llama.h takes, and which llama-cpp-python therefore has.
_LLAMA_CALLBACKS = {"ggml_backend_sched_eval_callback"}

# Anonymous unions that have a name in llama-cpp-python, and the struct that each is in.
_UNIONS = {"llama_model_kv_override_value": "llama_model_kv_override"}

# Fields of type `char *` that hold bytes, whose number is another field, and no text.
_BYTES = {"state_data"}

_made: dict[str, Any] = {}
# Attributes of structs that are no fields, by the struct's id, until it goes; ctypes' structs have no hash.
_attributes: dict[int, tuple[dict[str, Any], weakref.ref[Any]]] = {}
_making = threading.RLock()
if hasattr(os, "register_at_fork"):  # or a child would wait for a thread that stayed in the parent
    os.register_at_fork(before=_making.acquire, after_in_child=_making.release, after_in_parent=_making.release)


def named(name: str) -> Any:
    """Return the ctypes type for a C type.

    Args:
        name: a struct or a callback typedef of the headers (`llama_batch`, `ggml_log_callback`), a ctypes
            type (`c_int32`), or `POINTER(…)` of one of these.

    Raises:
        AttributeError: the headers know no such type.
    """
    if name.startswith("c_"):
        return getattr(ctypes, name)
    with _making:
        if name.startswith("POINTER("):
            # Under the lock too: ctypes' own cache of pointers has none before CPython 3.14.
            return ctypes.POINTER(named(name.removeprefix("POINTER(").removesuffix(")")))
        if name not in _made:
            _made[name] = _make(name)
        return _made[name]


def _make(name: str) -> Any:
    if name in _callback_fields():
        struct, field = _callback_fields()[name]
        return _callback(name, dict(_type_of(struct).fields)[field].type)
    ctype = _type_of(name)
    if ctype.kind == "struct" and _is_complete(ctype):
        return _structure(name, ctype)
    if ctype.kind == "function":
        return _callback(name, ctype)
    if ctype.kind in ("primitive", "pointer"):
        return _field_type(name, "", ctype)
    raise AttributeError(f"{name} has no ctypes type of its own: it is {ctype.cname}")


def _type_of(name: str) -> Any:
    for spelling in (name, f"struct {name}"):
        try:
            return ffi.typeof(spelling)
        except ffi.error:
            continue
    raise AttributeError(f"llama.cpp's headers have no function, constant or type {name!r}")


def _is_complete(ctype: Any) -> bool:
    """Tell whether the headers define the struct; `.fields` must not be touched before that is known."""
    try:
        ffi.sizeof(ctype)
    except (TypeError, ffi.error):
        return False
    return True


@functools.cache
def type_names() -> frozenset[str]:
    """Return the names of all C types that `named` can make."""
    typedefs, structs, _ = ffi.list_types()
    return frozenset(filter(_is_nameable, [*typedefs, *structs])) | frozenset(_callback_fields())


def _is_nameable(name: str) -> bool:
    ctype = _type_of(name)
    return ctype.kind in ("function", "primitive", "pointer") or (ctype.kind == "struct" and _is_complete(ctype))


def facade_type(name: str) -> Any:
    """Return the ctypes type that the facade has under `name`.

    Beside C's own names these are pointers to them (`…_p`), for handles the name in annotations (`…_p`) and the type
    that stands for one in a ctypes array or a struct (`…_p_ctypes`), the union in a struct (`…_value`), and
    llama-cpp-python's name for the log callback.
    """
    if name == "llama_log_callback":
        return named("ggml_log_callback")
    if name in _UNIONS:
        return dict(named(_UNIONS[name])._fields_)["value"]
    for suffix, handle in (("_p_ctypes", ctypes.c_void_p), ("_p", int)):
        base = name.removesuffix(suffix)
        if base != name:
            return named(f"POINTER({base})") if base in type_names() else _opaque(base, handle)
    return named(name)


def _opaque(name: str, handle: Any) -> Any:
    _type_of(name)
    return handle


@functools.cache
def facade_type_names() -> frozenset[str]:
    structs = [name for name in ffi.list_types()[1] if name.startswith(("llama_", "gguf_", "mtmd_"))]
    pointers = {name + suffix for name in [*structs, "llama_token"] for suffix in ("_p", "_p_ctypes")}
    return type_names() | pointers | _UNIONS.keys() | {"llama_log_callback"}


@functools.cache
def _callback_fields() -> dict[str, tuple[str, str]]:
    """Function pointers that a struct declares in place are named after the struct and the field."""
    return {
        f"{struct}_{field}": (struct, field)
        for struct in ("llama_sampler_i",)
        for field, info in _type_of(struct).fields
        if info.type.kind == "function"
    }


# ---------------------------------------------------------------- fields


def _field_type(owner: str, field: str, ctype: Any) -> Any:
    """Translate the type of a field, a parameter or a result."""
    if ctype.kind == "primitive":
        return _PRIMITIVES.get(ctype.cname) or getattr(ctypes, "c_" + ctype.cname.removesuffix("_t"))
    if ctype.kind == "enum":
        return ctypes.c_int
    if ctype.kind == "array":
        return _field_type(owner, field, ctype.item) * ctype.length
    if ctype.kind == "struct":
        return named(_plain(ctype))
    if ctype.kind == "function":
        return _function_field(owner, field, ctype)
    return _pointer_type(owner, field, ctype.item)


def _plain(ctype: Any) -> str:
    return str(ctype.cname).removeprefix("struct ")


def _function_field(owner: str, field: str, ctype: Any) -> Any:
    """Give a field of function type the CFUNCTYPE, which takes callbacks of our own and of others' making."""
    name = _callback_name(owner, field, ctype)
    return named(name).__base__ if name else ctypes.c_void_p


def _callback_name(owner: str, field: str, ctype: Any) -> str | None:
    name = f"{owner}_{field}"
    return _callback_typedefs().get(ctype) or (name if name in _callback_fields() else None)


@functools.cache
def _callback_typedefs() -> dict[Any, str]:
    return {_type_of(name): name for name in ffi.list_types()[0] if _type_of(name).kind == "function"}


def _pointer_type(owner: str, field: str, item: Any) -> Any:
    if item.kind == "void" or item.kind == "function":
        return ctypes.c_void_p
    if item.kind == "struct" and (not _is_complete(item) or _foreign(owner, _plain(item))):
        return ctypes.c_void_p
    if item.kind == "primitive" and item.cname == "char" and field not in _BYTES:
        return ctypes.c_char_p
    return ctypes.POINTER(_field_type(owner, field, item))


def _foreign(owner: str, struct: str) -> bool:
    """Tell whether code that knows llama.cpp only handles `struct` by its address: ggml's inside llama's."""
    return struct.startswith("ggml_") and (owner in _LLAMA_CALLBACKS or not owner.startswith("ggml_"))


# ---------------------------------------------------------------- structs


class _Open:
    """Warn where a field is set that a struct does not have: ctypes makes an attribute of it, which C never sees.

    The attributes stand elsewhere, since a struct with a place for them takes longer to make.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        try:
            set_field(self, name, value)
        except AttributeError:
            self._keep(name, value)

    def _keep(self, name: str, value: object) -> None:
        struct = type(self)
        if not name.startswith("_"):
            fields = [field for field in dir(struct) if not field.startswith("_")]
            old_code.warn_of_unknown(struct.__name__, name, fields)
        own = id(self)
        if own not in _attributes:
            _attributes[own] = {}, weakref.ref(self, lambda _: _attributes.pop(own, None))
        _attributes[own][0][name] = value

    def __getattr__(self, name: str) -> Any:
        kept = _attributes.get(id(self))
        if kept and name in kept[0]:
            return kept[0][name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}", name=name, obj=self)

    def __repr__(self) -> str:
        from llamacffi import shown

        return shown.struct(self, _type_of(type(self).__name__))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as every ctypes struct: one with pointers refuses. ctypes' own way needs a `__dict__`."""
        try:
            return tuple(super().__reduce__())
        except AttributeError:
            structure: Any = type(self)
            return structure.from_buffer_copy, (bytes(self),)


class _Field:
    """A field that code for ctypes reads, or sets, as another type than its own."""

    def __init__(self, field: Any, kind: Any) -> None:
        self._field, self._kind = field, kind
        self.offset, self.size = field.offset, field.size

    def __get__(self, struct: Any, owner: Any = None) -> Any:
        return self if struct is None else self._read(self._field.__get__(struct))

    def __set__(self, struct: Any, value: Any) -> None:
        is_address = isinstance(value, int | ctypes.c_void_p)
        self._field.__set__(struct, ctypes.cast(value, self._kind) if is_address else value)

    def _read(self, value: Any) -> Any:
        raise NotImplementedError


class _VoidPointer(_Field):
    """A pointer that is a `c_void_p` in llama-cpp-python."""

    def _read(self, value: Any) -> Any:
        return value or None


class _Callback(_Field):
    """A callback, whose type is the named one; what is set may be of any type with its signature."""

    def _read(self, value: Any) -> Any:
        return ctypes.cast(value, self._kind)


def _structure(name: str, ctype: Any) -> Any:
    bases = (*old_code.FIELDS.get(name, ()), _Open, ctypes.Structure)
    namespace = {
        "__slots__": ("__weakref__", "_buffers"),
        "__module__": "llamacffi.llama_cpp",
        "__doc__": declarations.Declaration(name),
    }
    make: Any = type(ctypes.Structure)
    structure = make(name, bases, namespace)
    _made[name] = structure  # before its fields: a struct may point to itself
    fields = _fields(name, ctype)
    structure._anonymous_ = [field for field, type_ in fields if issubclass(type_, ctypes.Union)]
    structure._fields_ = fields
    for field, info in ctype.fields:
        if kind := _described_by(name, field, info.type):
            describe, type_ = kind
            setattr(structure, field, describe(getattr(structure, field), type_))
    return structure


def _described_by(struct: str, field: str, ctype: Any) -> tuple[Any, Any] | None:
    """Return the descriptor for a field, where ctypes' own does not do, and the type that it needs."""
    if field in old_code.VOID_POINTERS.get(struct, ()):
        return _VoidPointer, _field_type(struct, field, ctype)
    if ctype.kind == "function" and (name := _callback_name(struct, field, ctype)):
        return _Callback, named(name)
    return None


def _fields(name: str, ctype: Any) -> list[tuple[str, Any]]:
    """List a struct's fields. cffi lists the members of an anonymous union as fields at one offset."""
    fields = []
    for _, group in groupby(ctype.fields, key=lambda field: field[1].offset):
        members = [(field, _field_type(name, field, info.type)) for field, info in group]
        fields.append(members[0] if len(members) == 1 else ("value", _union(name, members)))
    return fields


def _union(owner: str, members: list[tuple[str, Any]]) -> Any:
    make: Any = type(ctypes.Union)
    return make(f"{owner}_value", (ctypes.Union,), {"_fields_": members})


# ---------------------------------------------------------------- callbacks


def _callback(name: str, ctype: Any) -> Any:
    """Make a callback type: a CFUNCTYPE whose function may raise."""
    result = _result_type(name, ctype.result)
    arguments = [_field_type(name, "", argument) for argument in ctype.args]
    base: Any = ctypes.CFUNCTYPE(result, *arguments)
    stop = _STOPS.get(name, None if result is None else result().value)

    def __new__(cls: Any, *given: Any) -> Any:
        if given and callable(given[0]) and not isinstance(given[0], base):
            given = (guarded(given[0], stop), *given[1:])
        return base.__new__(cls, *given)

    namespace = {
        "__new__": __new__,
        "__repr__": _shown_callback,
        "__module__": "llamacffi.llama_cpp",
        "__doc__": declarations.Declaration(_callback_fields().get(name, (name,))[0]),
        "_flags_": base._flags_,
        "_restype_": result,
        "_argtypes_": tuple(arguments),
    }
    return type(base)(name, (base,), namespace)


def _shown_callback(self: Any) -> str:
    from llamacffi import shown

    return shown.callback(self)


def _result_type(name: str, ctype: Any) -> Any:
    """ctypes callbacks can return no typed pointer and no struct."""
    if ctype.kind == "void":
        return None
    result = _field_type(name, "", ctype)
    return result if issubclass(result, ctypes._SimpleCData) else ctypes.c_void_p


# ---------------------------------------------------------------- functions


def function_attribute(function: Any, name: str) -> Any:
    """Make what code for ctypes asks of a C function: the extension calls this for what the object has not.

    Raises:
        AttributeError: ctypes' functions have no such attribute either.
    """
    if name not in _ATTRIBUTES:
        raise AttributeError(f"{function!r} has no attribute {name!r}", name=name, obj=function)
    value = _ATTRIBUTES[name](function)
    setattr(function, name, value)
    return value


def _signature_of(function: Any) -> Any:
    return ffi.typeof(getattr(lib, function.__name__))


def _parameter_types(function: Any) -> list[Any]:
    return [_field_type("", "", argument) for argument in _signature_of(function).args]


def _restype(function: Any) -> Any:
    result = _signature_of(function).result
    return None if result.kind == "void" else _field_type("", "", result)


def _address(function: Any) -> Any:
    return ctypes.c_void_p(int(ffi.cast("intptr_t", ffi.addressof(lib, function.__name__))))


def _wrapped(function: Any) -> Any:
    """Make a Python function with the names and the types of the parameters, as `inspect` and `typing` read them."""
    from inspect import Parameter, Signature

    def wrapped(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    names = _parameter_names(function)
    hints = function.__annotations__
    given = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=hints[name]) for name in names]
    vars(wrapped)["__signature__"] = Signature(given, return_annotation=hints["return"])
    wrapped.__annotations__, wrapped.__doc__, wrapped.__module__ = hints, function.__doc__, function.__module__
    wrapped.__name__ = wrapped.__qualname__ = function.__name__
    return wrapped


def _parameter_names(function: Any) -> list[str]:
    return [name for name in function.__text_signature__.strip("()").split(", ") if name]


def _annotations(function: Any) -> dict[str, Any]:
    signature = _signature_of(function)
    hints = dict(zip(_parameter_names(function), map(_python_type, signature.args), strict=True))
    return {**hints, "return": None if signature.result.kind == "void" else _python_type(signature.result)}


def _python_type(ctype: Any) -> Any:
    """Return as what a value is handled in Python."""
    made = _field_type("", "", ctype)
    if made is ctypes.c_char_p:
        return bytes
    if not issubclass(made, ctypes._SimpleCData):
        return made
    value = made().value
    return int if value is None else type(value)


_ATTRIBUTES: dict[str, Any] = {
    "__annotations__": _annotations,
    "__wrapped__": _wrapped,
    "_as_parameter_": _address,
    "argtypes": _parameter_types,
    "errcheck": lambda _function: None,
    "restype": _restype,
}
