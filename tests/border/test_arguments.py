"""Every parameter type of the headers, with every kind of object that the border accepts and that it refuses.

The walk starts at the extension's own type information. The rules below are chosen by what a C type *is* (an integer,
a pointer to an opaque struct, …), not by the functions' names, so a type of a later llama.cpp that no rule speaks of
fails here. They say what the table of the design says: which objects are taken, and that what is taken is not copied.
"""

from __future__ import annotations

import array
import ctypes
import dataclasses
import decimal
import fractions
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from llamacffi._llama import convert, functions

from bindgen import policy
from llamacffi import LlamaValueError, ctypes_types, ffi, lib, llama_cpp

KNOWN = policy.load()
# Structs with fields in the headers that llama.cpp makes and frees, so that they are passed on like handles.
MADE_BY_LLAMA_CPP = {"struct llama_sampler"}

MEMORY = ctypes.create_string_buffer(4096)  # stands for what a handle or a pointer leads to; nobody reads it
ADDRESS = ctypes.addressof(MEMORY)
ANYWHERE = object()  # the expected address of what has to be copied


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter that stands for all others of its type."""

    function: str
    position: int
    ctype: Any
    declared: str

    @property
    def const(self) -> bool:
        return self.declared.startswith("const ")

    @property
    def frees(self) -> bool:
        return "free" in self.function.split("_") and len(ffi.typeof(getattr(lib, self.function)).args) == 1

    @property
    def takes_null(self) -> bool:
        name = self.declared.split()[-1].lstrip("*")
        return self.frees or name in KNOWN.of(self.function).nullable

    def convert(self, given: object) -> int | None:
        address: int | None = convert(self.function, self.position, given, self.ctype)
        return address


# ---------------------------------------------------------------- the walk


def declared_parameters(function: str) -> list[str]:
    """Read the C declarations of a function's parameters out of the prototype in its docstring.

    cffi's own types know nothing of const.
    """
    inside = functions[function].__doc__.splitlines()[0].split("(", 1)[1].rstrip(";").rstrip(")")
    return [part.strip() for part in re.split(r",(?![^()]*\))", inside)]


def all_parameters() -> Iterator[Parameter]:
    for function in sorted(functions):
        types = ffi.typeof(getattr(lib, function)).args
        for position, ctype in enumerate(types):
            yield Parameter(function, position, ctype, declared_parameters(function)[position])


def distinct_parameters() -> dict[str, Parameter]:
    """Return one parameter for each distinct type; whether C writes, and whether the call frees, is part of a type."""
    found: dict[str, Parameter] = {}
    for parameter in all_parameters():
        traits = " const" * (parameter.const and parameter.ctype.kind == "pointer") + " freed" * parameter.frees
        found.setdefault(parameter.ctype.cname + traits, parameter)
    return found


DISTINCT = distinct_parameters()
every_type = pytest.mark.parametrize("parameter", DISTINCT.values(), ids=DISTINCT)


# ---------------------------------------------------------------- what a type is


def has_fields(struct: Any) -> bool:
    try:
        return bool(ffi.sizeof(struct) > 0)
    except (TypeError, ffi.error):
        return False


def pointer_kind(item: Any) -> str:
    if item.kind in ("void", "pointer", "function", "array"):
        return {"function": "pointers", "pointer": "pointers", "array": "items"}.get(item.kind, "void *")
    if item.kind == "struct":
        return "struct *" if has_fields(item) and item.cname not in MADE_BY_LLAMA_CPP else "handle"
    return "char *" if item.cname == "char" else "items"


def primitive_kind(cname: str) -> str:
    return {"_Bool": "bool", "float": "float", "double": "float"}.get(cname, "integer")


def kind_of(ctype: Any) -> str:
    if ctype.kind == "primitive":
        return primitive_kind(ctype.cname)
    return pointer_kind(ctype.item) if ctype.kind == "pointer" else str(ctype.kind)


# ---------------------------------------------------------------- objects of a number's type


@dataclasses.dataclass(frozen=True)
class Item:
    """A C number type, as NumPy, ctypes, the array module and cffi have it."""

    cname: str
    dtype: np.dtype[Any]

    @property
    def ctypes(self) -> Any:
        return np.ctypeslib.as_ctypes_type(self.dtype)

    @property
    def cffi(self) -> Any:
        return ffi.new(f"{self.cname}[4]")

    def numpy(self) -> np.ndarray[Any, Any]:
        return np.zeros(4, self.dtype)

    def array(self) -> Any:
        if self.dtype.kind == "b":
            return memoryview(bytearray(4)).cast("?")  # the array module has no truth values
        code = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
        return array.array({**code, "f4": "f", "f8": "d"}[self.dtype.str[1:]], [0, 0, 0, 0])


def item_of(ctype: Any) -> Item:
    """Find the NumPy type of a C number by its size, and by what it makes of -1."""
    while ctype.kind == "array":
        ctype = ctype.item
    if primitive_kind(ctype.cname) == "bool":
        return Item(ctype.cname, np.dtype(np.bool_))
    if primitive_kind(ctype.cname) == "float":
        return Item(ctype.cname, np.dtype(f"f{ffi.sizeof(ctype)}"))
    return Item(ctype.cname, np.dtype(f"{'iu'[int(ffi.cast(ctype, -1)) > 0]}{ffi.sizeof(ctype)}"))


def other_items(item: Item) -> list[np.dtype[Any]]:
    """Number types that cannot be read as `item`: of another size, or floats where integers are and the reverse."""
    dtypes = [np.dtype(letter + str(size)) for letter in "if" for size in (1, 2, 4, 8) if letter + str(size) != "f1"]
    whole = item.dtype.kind in "iu"
    return [d for d in dtypes if d.itemsize != item.dtype.itemsize or ((d.kind == "i") != whole and d.itemsize > 2)]


def readonly(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values.flags.writeable = False
    return values


# ---------------------------------------------------------------- the rules

Taken = list[tuple[object, object]]  # an object, and the address at which C must see it
Refused = list[tuple[object, type[Exception]]]
Rule = Callable[[Parameter], tuple[Taken, Refused]]

NEVER_A_NUMBER: Refused = [
    (thing, TypeError) for thing in ("1", b"1", None, [1], {}, object(), 1j, ctypes.c_char(b"1"))
]
NEVER_A_POINTER: Refused = [(thing, TypeError) for thing in (1.5, {}, set(), object(), 1j, ctypes.c_int(5))]


def at(thing: Any) -> tuple[object, int]:
    """Pair a ctypes object with where it stands."""
    return thing, ctypes.addressof(thing)


def at_buffer(thing: Any) -> tuple[object, int]:
    """Pair an object of the buffer protocol with where its memory stands."""
    return thing, int(ffi.cast("uintptr_t", ffi.from_buffer(thing)))


def at_cdata(thing: Any) -> tuple[object, int]:
    return thing, int(ffi.cast("uintptr_t", thing))


def references(thing: Any) -> Taken:
    """A ctypes object by itself, by reference and by pointer."""
    address = ctypes.addressof(thing)
    return [(thing, address), (ctypes.byref(thing), address), (ctypes.pointer(thing), address)]


def integer(parameter: Parameter) -> tuple[Taken, Refused]:
    limits = np.iinfo(item_of(parameter.ctype).dtype)
    fit = [0, 1, True, int(limits.min), int(limits.max), ctypes.c_int32(1), ctypes.c_size_t(1), ctypes.c_bool(True)]
    fit += [np.dtype(code).type(1) for code in np.typecodes["AllInteger"]]
    fit += [np.array(1), ffi.cast("int8_t", 1), ffi.cast("uint64_t", 1), ffi.cast(parameter.ctype, 1)]
    beyond = [int(limits.max) + 1, int(limits.min) - 1, 2**70, -(2**70), 10**5000]
    wrong = [1.5, np.float64(1), ctypes.c_float(1), ffi.cast("double", 1.5), np.array([1, 2]), ffi.new("int *")]
    refused = NEVER_A_NUMBER + [(thing, TypeError) for thing in wrong] + [(thing, LlamaValueError) for thing in beyond]
    return [(thing, None) for thing in fit], refused


def enum(parameter: Parameter) -> tuple[Taken, Refused]:
    """All values that the header names, but for the number of them; and nothing that 32 bits do not hold."""
    values = {number for name, number in parameter.ctype.relements.items() if not name.endswith("_COUNT")}
    kinds: list[Any] = [
        np.int64,
        np.int32,
        ctypes.c_int,
        ctypes.c_int64,
        lambda number: ffi.cast(parameter.ctype, number),
    ]
    fit = [*values, *(kind(min(values)) for kind in kinds)]
    beyond = [2**32, -(2**31) - 1, 2**70, -(2**70)]
    wrong = [1.5, np.float32(1), ctypes.c_float(1), ffi.cast("double", 1), np.array([1, 2])]
    refused = NEVER_A_NUMBER + [(thing, TypeError) for thing in wrong] + [(thing, LlamaValueError) for thing in beyond]
    return [(thing, None) for thing in fit], refused


def floating(parameter: Parameter) -> tuple[Taken, Refused]:
    fit = [1.5, 1, True, float("nan"), float("inf"), np.float16(1), np.float32(1), np.float64(1), np.int32(1)]
    fit += [ctypes.c_float(1), ctypes.c_double(1), ctypes.c_int(1), ffi.cast("float", 1.5)]
    fit += [fractions.Fraction(1, 2), decimal.Decimal("0.5")]
    wrong = [np.array([1.0, 2.0]), ffi.new("float *")]
    refused = [*NEVER_A_NUMBER, *((thing, TypeError) for thing in wrong), (10**400, LlamaValueError)]
    return [(thing, None) for thing in fit], refused


def boolean(parameter: Parameter) -> tuple[Taken, Refused]:
    """Whatever has a truth; what has none says so itself."""
    fit = [True, False, 0, 1, np.True_, np.int32(1), ctypes.c_bool(True), ctypes.c_int(0), ffi.cast("_Bool", 1)]
    fit += [None, [], [1], "", "1", {}, object(), 1j, ffi.new("int *")]
    return [(thing, None) for thing in fit], []


def characters(parameter: Parameter) -> tuple[Taken, Refused]:
    writable = ctypes.create_string_buffer(8)
    taken: Taken = [(None, None), at(writable), at_buffer(bytearray(b"text\0")), at_buffer(memoryview(bytearray(4)))]
    taken += [at_buffer(np.zeros(4, np.uint8)), at_cdata(ffi.new("char[]", b"text"))]
    taken += references(ctypes.c_char(b"x"))[1:]
    refused = list(NEVER_A_POINTER)
    wrong = [
        5,
        ["a"],
        ctypes.c_wchar_p("a"),
        ctypes.py_object("a"),
        ctypes.byref(ctypes.c_wchar("a")),
        (ctypes.c_int * 2)(),
    ]
    wrong += [np.zeros(2, np.float32), np.array(["a"]), np.array([b"a"], object), ffi.new("int *")]
    refused += [(thing, TypeError) for thing in wrong] + [(memoryview(bytearray(8))[::2], LlamaValueError)]
    return text_or_buffer(parameter, taken, refused)


def text_or_buffer(parameter: Parameter, taken: Taken, refused: Refused) -> tuple[Taken, Refused]:
    """What C only reads may be read-only, and may be a str."""
    if not parameter.const:
        kept = [(b"t", LlamaValueError), (memoryview(b"text"), LlamaValueError), ("text", TypeError)]
        return [*taken, at_buffer(b"text")], refused + kept
    word = ctypes.c_char_p(b"text")
    start = ctypes.c_void_p.from_buffer(word).value
    taken = [*taken, (word, start), (ctypes.c_char_p(), None), ("tëxt", ANYWHERE), ("", ANYWHERE)]
    taken += [at_buffer(b"text"), at_buffer(b"a\0b"), at_buffer(memoryview(b"text\0"))]
    return taken, [*refused, ("a\0b", LlamaValueError), ("\udc80", LlamaValueError)]


def any_memory(parameter: Parameter) -> tuple[Taken, Refused]:
    structure = llama_cpp.llama_batch()
    taken: Taken = [(None, None), (ADDRESS, ADDRESS), (ctypes.c_void_p(ADDRESS), ADDRESS), (ctypes.c_void_p(), None)]
    taken += [at(MEMORY), at_buffer(bytearray(4)), at_buffer(array.array("d", [1])), at_cdata(ffi.new("double[3]"))]
    taken += [at_buffer(np.zeros((2, 3), dtype)) for dtype in (np.int8, np.float16, np.float32, np.int64)]
    taken += references(structure) + references(ctypes.c_int(5))[1:] + references((ctypes.c_float * 3)())
    refused = NEVER_A_POINTER + [(thing, TypeError) for thing in ("text", [1], (1,), ctypes.py_object(1))]
    refused += [(np.array([b"a"], object), TypeError), (2**70, LlamaValueError)]
    refused += [(np.zeros(8)[::2], LlamaValueError)]
    return constness(parameter, taken, refused, np.zeros(3))


def constness(
    parameter: Parameter, taken: Taken, refused: Refused, values: np.ndarray[Any, Any]
) -> tuple[Taken, Refused]:
    """What is read-only is taken where C only reads."""
    locked = readonly(values)
    if parameter.const:
        return [*taken, (locked, locked.ctypes.data)], refused
    return taken, [*refused, (locked, LlamaValueError)]


def items(parameter: Parameter) -> tuple[Taken, Refused]:
    item = item_of(parameter.ctype.item)
    taken, refused = buffers_of(item)
    taken += references(item.ctypes(1)) + references((item.ctypes * 3)())[:2]
    taken += [(None, None), (ctypes.POINTER(item.ctypes)(), None)]
    if parameter.ctype.item.kind != "array":
        taken.append(at_cdata(item.cffi))
    wrong = [
        5,
        "text",
        "",
        range(3),
        [object()],
        np.array([1], object),
        ffi.new("double *" if item.cname != "double" else "int *"),
    ]
    refused += NEVER_A_POINTER[:-1] + [(thing, TypeError) for thing in wrong]
    taken, refused = constness(parameter, taken, refused, item.numpy())
    return sequences(parameter, item, taken, refused)


def buffers_of(item: Item) -> tuple[Taken, Refused]:
    taken: Taken = [at_buffer(values) for values in (item.numpy(), item.array(), item.numpy().data)]
    taken += [at_buffer(item.numpy().reshape(2, 2)), at_buffer(item.numpy()[1:])]
    strided = [np.zeros(8, item.dtype)[::2], np.zeros((2, 2), item.dtype).T, item.numpy().data[::2]]
    wrong: list[object] = [
        np.zeros(4, np.uint8 if item.dtype.kind == "b" else bool),
        *([np.zeros(2, item.dtype.newbyteorder("S"))] if item.dtype.itemsize > 1 else []),
    ]
    for other in other_items(item):
        wrong += [np.zeros(4, other), *ctypes_of(other)]
    refused: Refused = [(thing, LlamaValueError) for thing in strided]
    return taken, refused + [(thing, TypeError) for thing in wrong]


def ctypes_of(dtype: np.dtype[Any]) -> list[object]:
    """Return a number of that type as ctypes refers to it; ctypes has no half."""
    if dtype == np.float16:
        return []
    number = np.ctypeslib.as_ctypes_type(dtype)
    return [ctypes.byref(number()), ctypes.pointer(number()), (number * 2)()]


def sequences(parameter: Parameter, item: Item, taken: Taken, refused: Refused) -> tuple[Taken, Refused]:
    """Lists and tuples are copied, so only C that reads may have them."""
    if not parameter.const:
        readonly_bytes = LlamaValueError if item.dtype.itemsize == 1 else TypeError
        return taken, [*refused, ([1, 2], TypeError), ((1, 2), TypeError), (b"12345678", readonly_bytes)]
    taken = [*taken, ([], ANYWHERE), ([1, 2], ANYWHERE), ((1, 2), ANYWHERE), ([np.int8(1), True], ANYWHERE)]
    refused = [*refused, (["a"], TypeError), ([None], TypeError), ([1, [2]], TypeError)]
    if item.dtype.kind == "f":
        return [*taken, ([0.5], ANYWHERE)], [*refused, (b"12345678", TypeError)]
    return taken, [*refused, ([0.5], TypeError), ([int(np.iinfo(item.dtype).max) + 1], LlamaValueError)]


def lookalike(size: int) -> Any:
    """Make a ctypes structure of that size which no header has."""
    return type("Lookalike", (ctypes.Structure,), {"_fields_": [("memory", ctypes.c_char * size)]})


def plain_name(ctype: Any) -> str:
    return str(ctype.cname).removeprefix("struct ")


def struct_pointer(parameter: Parameter) -> tuple[Taken, Refused]:
    item = parameter.ctype.item
    structure = ctypes_types.named(plain_name(item))
    taken = [*references(structure()), at((structure * 3)()), at_cdata(ffi.new(parameter.ctype))]
    taken += [(None, None), (ctypes.POINTER(structure)(), None)]
    other = lookalike(ffi.sizeof(item))()
    wrong = [5, "text", b"text", [1], other, ctypes.byref(other), ctypes.pointer(other), (type(other) * 2)()]
    wrong += [np.zeros(4, np.int8), ctypes.pointer(ctypes.c_int(5)), ffi.new("int *"), (ctypes.c_int * 2)()]
    return taken, NEVER_A_POINTER + [(thing, TypeError) for thing in wrong]


def handle(parameter: Parameter) -> tuple[Taken, Refused]:
    taken: Taken = [
        (ADDRESS, ADDRESS),
        (ctypes.c_void_p(ADDRESS), ADDRESS),
        at_cdata(ffi.cast(parameter.ctype, ADDRESS)),
    ]
    wrong = ["text", b"text", True, [1], (ADDRESS,), np.zeros(4), ctypes.c_int(5), ctypes.c_uint64(ADDRESS)]
    wrong += [
        ctypes.pointer(ctypes.c_int(5)),
        ctypes.byref(ctypes.c_int(5)),
        ffi.cast("int *", ADDRESS),
        lookalike(8)(),
    ]
    refused = NEVER_A_POINTER + [(thing, TypeError) for thing in wrong] + [(2**70, LlamaValueError)]
    nothing = [None, 0, ctypes.c_void_p(), ffi.cast(parameter.ctype, 0)]
    if parameter.takes_null:
        return taken + [(thing, None) for thing in nothing], refused
    return taken, refused + [(thing, LlamaValueError) for thing in nothing]


def pointers(parameter: Parameter) -> tuple[Taken, Refused]:
    words = (ctypes.c_void_p * 3)()
    addresses = np.zeros(3, np.uintp)
    taken: Taken = [
        (None, None),
        at(words),
        (ctypes.byref(words), ctypes.addressof(words)),
        (addresses, addresses.ctypes.data),
    ]
    taken += [*references(ctypes.c_void_p())[1:], at_cdata(ffi.new(parameter.ctype))]
    wrong = [
        5,
        "text",
        b"text",
        [b"a"],
        (ctypes.c_int * 2)(),
        ctypes.byref(ctypes.c_int()),
        ctypes.pointer(ctypes.c_float()),
    ]
    wrong += [np.array([b"a"], object), np.zeros(2), np.zeros(2, np.complex64), np.zeros(2, np.int32), ffi.new("int *")]
    return taken, NEVER_A_POINTER + [(thing, TypeError) for thing in wrong]


def callback_type(parameter: Parameter) -> Any:
    return getattr(llama_cpp, parameter.declared.split()[0])


def function(parameter: Parameter) -> tuple[Taken, Refused]:
    named = callback_type(parameter)
    made = named(lambda *given: 0)
    count = len(parameter.ctype.args)
    start = ctypes.c_void_p.from_buffer(made).value
    taken: Taken = [(None, None), (made, start), at_cdata(ffi.cast(parameter.ctype, ADDRESS)), (named(), None)]
    more = ctypes.CFUNCTYPE(None, *[ctypes.c_int] * (count + 1))(lambda *given: None)
    wrong = [
        5,
        "text",
        b"text",
        [1],
        len,
        lambda *given: 0,
        more,
        ffi.cast("int *", ADDRESS),
        ffi.cast("int(*)(int)", 8),
    ]
    return taken, NEVER_A_POINTER + [(thing, TypeError) for thing in [*wrong, ctypes.pythonapi["Py_IncRef"]]]


def struct(parameter: Parameter) -> tuple[Taken, Refused]:
    structure = ctypes_types.named(plain_name(parameter.ctype))
    derived = type("Derived", (structure,), {})
    cdata = ffi.new(ffi.getctype(parameter.ctype, "*"))
    taken: Taken = [(structure(), None), (derived(), None), (cdata[0], None)]
    other = lookalike(ffi.sizeof(parameter.ctype))()
    wrong = [None, 5, "text", b"text", [1], (), other, cdata, ffi.new("int *"), (structure * 1)()]
    wrong += [ctypes.byref(structure()), ctypes.pointer(structure()), np.zeros(64, np.int8)]
    return taken, NEVER_A_POINTER + [(thing, TypeError) for thing in wrong]


RULES: dict[str, Rule] = {
    "integer": integer,
    "enum": enum,
    "float": floating,
    "bool": boolean,
    "char *": characters,
    "void *": any_memory,
    "items": items,
    "struct *": struct_pointer,
    "handle": handle,
    "pointers": pointers,
    "function": function,
    "struct": struct,
}


# ---------------------------------------------------------------- the tests


def outcome(parameter: Parameter, given: object) -> object:
    """Return what the conversion gives, or the exception that it raises."""
    try:
        return parameter.convert(given)
    except Exception as error:
        return error


def shown(given: object) -> str:
    return f"{type(given).__name__} {str(given)[:60]!r}"


@pytest.mark.filterwarnings("ignore:.+ is bytes, into which C writes")
@every_type
def test_what_a_type_accepts_reaches_c_without_a_copy(parameter: Parameter) -> None:
    taken, _ = RULES[kind_of(parameter.ctype)](parameter)
    seen = [(given, expected, outcome(parameter, given)) for given, expected in taken]
    wrong = [
        f"{shown(given)}: {got!r}, not {expected}"
        for given, expected, got in seen
        if not (isinstance(got, int) if expected is ANYWHERE else got == expected)
    ]
    assert not wrong, "\n".join([parameter.function, *wrong])


@every_type
def test_what_a_type_refuses_raises_and_names_function_and_parameter(parameter: Parameter) -> None:
    _, refused = RULES[kind_of(parameter.ctype)](parameter)
    start = f"{parameter.function}(): "
    seen = [(given, expected, outcome(parameter, given)) for given, expected in refused]
    wrong = [
        f"{shown(given)}: {got!r}, not {expected.__name__} from {start}"
        for given, expected, got in seen
        if not (isinstance(got, expected) and str(got).startswith(start))
    ]
    assert not wrong, "\n".join([parameter.function, *wrong])


def test_every_kind_of_parameter_has_a_rule() -> None:
    """A type of a kind that no rule speaks of (a union, a vector) would be converted by nobody's decision."""
    assert {kind_of(parameter.ctype) for parameter in all_parameters()} == set(RULES)


def test_a_refused_type_is_named_with_the_parameter_and_its_c_type(vocab: Any) -> None:
    with pytest.raises(TypeError) as raised:
        llama_cpp.llama_token_to_piece(vocab, 5, np.zeros(4, np.float64), 4, 0, False)
    for word in ("llama_token_to_piece()", "buf", "char *", "ndarray", "'d'"):
        assert word in str(raised.value)


def message_of(function: str, *given: object) -> str:
    with pytest.raises(TypeError) as raised:
        functions[function](*given)
    return str(raised.value)


def test_a_wrong_number_of_arguments_is_a_type_error_with_the_function_s_name() -> None:
    older = {"llama_backend_init", "llama_get_logits"}  # which once had more: tests/dropin/test_patterns.py
    counts = {name: len(ffi.typeof(getattr(lib, name)).args) for name in functions if name not in older}
    messages = {name: message_of(name, *[None] * (count + 1)) for name, count in counts.items()}
    assert [name for name, message in messages.items() if f"{name}() takes" not in message] == []
