"""How type checkers are told what a C type is in Python: as an argument, a result, a struct's field or a callback's.

The names that begin with an underscore stand in `stub_heads/llama_cpp.pyi`. What a field or a callback's argument is
must be what `llamacffi.ctypes_types` makes of it; tests/stubs/test_stubs.py compares them.
"""

from __future__ import annotations

import re

from pycparser import c_ast

from bindgen.c_types import Kind, Types

# Where ctypes_types has a plain address of a struct of ggml's: inside of what is not ggml's.
LLAMA_CALLBACKS = {"ggml_backend_sched_eval_callback"}
BYTES = {"state_data"}  # a `char *` that holds bytes, whose number is another field
VOID_POINTERS = {"devices", "tensor_buft_overrides", "sampler"}  # old_code.VOID_POINTERS: what has an address sets them

ITEMS = {
    "c_bool": "b",
    "c_int8": "8", "c_uint8": "8", "c_ubyte": "8",
    "c_int16": "16", "c_uint16": "16",
    "c_int": "32", "c_int32": "32", "c_uint32": "32",
    "c_int64": "64", "c_uint64": "64", "c_size_t": "64",
    "c_float": "float",
    "c_double": "double",
}  # fmt: skip
FLOATS = ("c_float", "c_double")
NOT_INTS = {"c_bool": "bool", "c_float": "float", "c_double": "float", "c_char": "bytes"}
OWN_NAMES = {"llama_memory_i": "llama_memory_t"}  # of handles; the others are `…_p`
ADAPTER = "llama_adapter_lora"  # a pointer in llama-cpp-python, and no int


class PythonTypes:
    """Spells types for a stub; `functions` are the names that a struct cannot have there."""

    def __init__(self, types: Types, functions: set[str]) -> None:
        self.types = types
        self._functions = functions

    def class_name(self, struct: str) -> str:
        return f"_{struct}" if struct in self._functions else struct

    # ---------------------------------------------------------------- arguments and results

    def accepted(self, kind: Kind, may_be_null: bool) -> str:
        """Return what an argument may be."""
        if kind.name in ("NUMBER", "ENUM"):
            return {"c_bool": "_Flag", "c_float": "_Number", "c_double": "_Number"}.get(kind.python, "_Integer")
        if kind.name == "VALUE":
            return f"{self.class_name(kind.python)} | _Cdata"
        return self._pointed(kind) + " | None" * may_be_null

    def _pointed(self, kind: Kind) -> str:
        if kind.name == "HANDLE":
            return "_Handle" if kind.python == ADAPTER else f"{handle(kind.python)} | _Handle"
        if kind.name == "ITEMS":
            return self._items(kind)
        if kind.name == "POINTERS":
            return self._pointers(kind.python)
        fixed = {
            "TEXT": "_Text",
            "CHARS": "_Characters",
            "BYTES": "_Memory | bytes" if kind.const else "_Memory",
            "OBJECT": f"_To[{self.class_name(kind.python)}] | ctypes.c_void_p | _Unseen",
            "STRUCT": f"_To[{self.class_name(kind.python)}] | _Unseen",
            "FUNCTION": f"{kind.python} | _Callback",
        }
        return fixed[kind.name]

    def _items(self, kind: Kind) -> str:
        items = f"_Items_{ITEMS[kind.python]}"
        if not kind.const:
            return items
        written_out = "_Numbers" if kind.python in FLOATS else "_Integers"
        return f"{items}{' | bytes' * (items == '_Items_8')} | {written_out}"

    def _pointers(self, item: str) -> str:
        each = [self._ctypes(item), "ctypes.c_void_p" if item != "c_void_p" else "ctypes._Pointer[ctypes.c_void_p]"]
        return " | ".join([*(f"_To[{one}]" for one in each), "_Unseen"])

    def _ctypes(self, name: str) -> str:
        """Spell a ctypes type that `Kind` names."""
        if inner := re.fullmatch(r"POINTER\((.*)\)", name):
            return f"ctypes._Pointer[{self._ctypes(inner[1])}]"
        return f"ctypes.{name}" if name.startswith("c_") else self.class_name(name)

    def returned(self, kind: Kind, as_pointer: bool, never_null: bool) -> str:
        """Return what a result is."""
        if kind.name in ("ITEMS", "STRUCT", "OBJECT", "POINTERS"):
            return f"ctypes._Pointer[{self._ctypes(kind.python)}]"
        if kind.name == "HANDLE":
            name = "ctypes._Pointer[ctypes.c_void_p]" if as_pointer else handle(kind.python)
            return name if never_null else f"{name} | None"
        if kind.name in ("VALUE", "FUNCTION"):
            return self.class_name(kind.python)
        text = "bytes" if never_null else "bytes | None"
        names = {"VOID": "None", "TEXT": text, "BYTES": "int | None", "ENUM": "int"}
        return names.get(kind.name) or NOT_INTS.get(kind.python, "int")

    # ---------------------------------------------------------------- ctypes: fields and callbacks

    def ctypes_type(self, owner: str, field: str, node: c_ast.Node) -> str:
        """Return the ctypes type of a field, or of a callback's argument or result."""
        end = self.types.resolve(node)
        if isinstance(end, c_ast.ArrayDecl):
            return f"ctypes.Array[{self.ctypes_type(owner, field, end.type)}]"
        if isinstance(end, c_ast.PtrDecl):
            return self._ctypes_pointer(owner, field, end.type, node)
        if isinstance(end, c_ast.Struct):
            return self.class_name(self.types.name(end) or f"_{owner}_{field}")
        return self._ctypes(self.types.kind(node).python)

    def _ctypes_pointer(self, owner: str, field: str, target: c_ast.Node, node: c_ast.Node) -> str:
        end = self.types.resolve(target)
        names = getattr(end, "names", [])
        if isinstance(end, c_ast.FuncDecl):
            return self.types.kind(node).python or callback_name(owner, field) or "ctypes.c_void_p"
        if names in (["void"], ["FILE"]) or (isinstance(end, c_ast.Struct) and self._is_address(owner, end)):
            return "ctypes.c_void_p"
        if isinstance(end, c_ast.PtrDecl) and isinstance(self.types.resolve(end.type), c_ast.FuncDecl):
            return "ctypes.c_void_p"
        if names == ["char"] and field not in BYTES:
            return "ctypes.c_char_p"
        return f"ctypes._Pointer[{self.ctypes_type(owner, field, target)}]"

    def _is_address(self, owner: str, struct: c_ast.Struct) -> bool:
        name = self.types.name(struct)
        foreign = name.startswith("ggml_") and (owner in LLAMA_CALLBACKS or not owner.startswith("ggml_"))
        return foreign or name not in self.types.complete

    def result_of_callback(self, name: str, node: c_ast.Node) -> str:
        """Return what a callback's function returns: ctypes can take no typed pointer and no struct from it."""
        kind = self.types.kind(node)
        if kind.name == "VOID":
            return "None"
        made = self.ctypes_type(name, "", node)
        return self.read(node, made if made.startswith("ctypes.c_") else "ctypes.c_void_p")

    def read(self, node: c_ast.Node, made: str, field: str = "") -> str:
        """Return what ctypes gives for a value of the type `made`."""
        kind = self.types.kind(node)
        if made == "ctypes.c_void_p" and kind.name == "HANDLE" and kind.python != ADAPTER:
            return f"{handle(kind.python)} | None"
        if made == "ctypes.Array[ctypes.c_char]":
            return "bytes"
        if field in VOID_POINTERS:
            return f"{made} | None"
        return {"ctypes.c_void_p": "int | None", "ctypes.c_char_p": "bytes | None"}.get(made) or _simple(made)

    def written(self, node: c_ast.Node, made: str, field: str) -> str:
        """Return what a field of the type `made` may be set to."""
        got = self.read(node, made, field)
        if made.startswith("ctypes._Pointer["):
            array = made.replace("_Pointer", "Array", 1)
            return (
                f"{got.removesuffix(' | None')} | {array} | {'ctypes.c_void_p | int | ' * (field in VOID_POINTERS)}None"
            )
        if made.startswith("ctypes.Array[") and got != "bytes":
            return f"{got} | tuple[{_simple(made.removeprefix('ctypes.Array[')[:-1])}, ...]"
        numbers = {"int": "SupportsIndex", "float": "SupportsFloat | SupportsIndex", "bool": "_Truth"}
        if got in numbers:
            return f"{made} | {numbers[got]}"
        if made.startswith("ctypes.c_"):
            return f"{made} | {got}"
        return f"{got} | ctypes._CFunctionType" if isinstance(self.types.resolve(node), c_ast.PtrDecl) else got


def _simple(made: str) -> str:
    return NOT_INTS.get(made.removeprefix("ctypes."), "int") if made.startswith("ctypes.c_") else made


def handle(struct: str) -> str:
    """Return the name of a kind of handles."""
    return OWN_NAMES.get(struct, f"{struct}_p")


def callback_name(owner: str, field: str) -> str:
    """A function pointer that a struct declares in place is named after both."""
    return f"{owner}_{field}" if owner == "llama_sampler_i" else ""
