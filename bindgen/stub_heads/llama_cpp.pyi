"""llama.cpp's C functions, constants and types under their own names, as type checkers and editors see them.

Names with an underscore are for this file: they say what a C parameter accepts. Some types differ from what stands
under their name at run time, since there is no other way to tell handles apart:

- A handle is an int at run time; here each kind is a NewType over int, so that a model is no context. `llama_model_p`
  and `llama_context_p`, which are ctypes pointer types when the program runs, are such names too: for annotations. An
  address of your own becomes a handle of any kind by `ctypes.c_void_p(address)`.
- A handle that comes out of a call is `… | None`: None is what C's NULL becomes, and most functions can fail. Those
  that cannot (`never_null` in bindgen/policy.toml) say so.
- What the items of a buffer are (a NumPy array, a memoryview), and what `ctypes.byref` refers to, a checker cannot see.
  `byref` of this module keeps the type.
"""

import ctypes
import mmap
import os
import pathlib
from _ctypes import CFuncPtr as _CFuncPtr
from collections.abc import Callable
from typing import (
    Any,
    Final,
    Generic,
    NewType,
    Protocol,
    Self,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    final,
    overload,
)

from typing_extensions import deprecated

from llamacffi.old_code import FlashAttention as _FlashAttention
from llamacffi.old_code import Library as _Library
from llamacffi.old_code import LoadMode as _LoadMode

_T = TypeVar("_T", bound=ctypes._CData)
_T_co = TypeVar("_T_co", bound=ctypes._CData, covariant=True)

class _Cdata(Protocol):  # cffi's cdata, by its methods: cffi's own stubs may not be installed
    def __complex__(self) -> complex: ...
    def __enter__(self) -> object: ...
    def __float__(self) -> float: ...

class _Buffer(Protocol):  # NumPy's arrays, memoryview, array.array; ctypes' arrays have no such method
    def tobytes(self) -> bytes: ...

class _Bool(Protocol):  # NumPy's bool, which is no index
    def item(self) -> bool: ...

_MaybeNone: TypeAlias = Any  # None in theory: C's callbacks get no NULL here, but their types allow it

class _Truth(Protocol):
    def __bool__(self) -> bool: ...

_Integer: TypeAlias = SupportsIndex | ctypes._SimpleCData[int] | ctypes.c_bool | _Bool | _Cdata
_Number: TypeAlias = SupportsFloat | ctypes._SimpleCData[float] | _Integer
_Flag: TypeAlias = _Truth | _Integer

class CtypesRef(Generic[_T_co]):
    """What `byref` of this module returns."""

_Unseen: TypeAlias = ctypes._CArgObject | _Cdata | _Buffer
_To: TypeAlias = _T | ctypes._Pointer[_T] | ctypes.Array[_T] | CtypesRef[_T]
_Bytes: TypeAlias = (
    _To[ctypes.c_char] | _To[ctypes.c_int8] | _To[ctypes.c_uint8] | _To[ctypes.c_byte] | _To[ctypes.c_ubyte] | bytearray
)

# Arrays of numbers, by the size and kind of their items; C may write into them.
_Items_b: TypeAlias = _To[ctypes.c_bool] | _Unseen
_Items_8: TypeAlias = _Bytes | mmap.mmap | _Unseen
_Items_16: TypeAlias = _To[ctypes.c_int16] | _To[ctypes.c_uint16] | _To[ctypes.c_short] | _To[ctypes.c_ushort] | _Unseen
_Items_32: TypeAlias = _To[ctypes.c_int32] | _To[ctypes.c_uint32] | _To[ctypes.c_int] | _To[ctypes.c_uint] | _Unseen
_Items_64: TypeAlias = (
    _To[ctypes.c_int64]
    | _To[ctypes.c_uint64]
    | _To[ctypes.c_size_t]
    | _To[ctypes.c_ssize_t]
    | _To[ctypes.c_long]
    | _To[ctypes.c_ulong]
    | _To[ctypes.c_longlong]
    | _To[ctypes.c_ulonglong]
    | _Unseen
)
_Items_float: TypeAlias = _To[ctypes.c_float] | _Unseen
_Items_double: TypeAlias = _To[ctypes.c_double] | _Unseen

# What C only reads may be written out; a Sequence would take the bytes of a text for numbers.
_Integers: TypeAlias = list[int] | list[SupportsIndex] | tuple[SupportsIndex, ...]
_Numbers: TypeAlias = list[float] | list[int] | list[SupportsFloat] | tuple[SupportsFloat | SupportsIndex, ...]

_Characters: TypeAlias = _Bytes | mmap.mmap | ctypes.c_char_p | ctypes.c_void_p | _Unseen | bytes
_Text: TypeAlias = _Characters | str
_Memory: TypeAlias = ctypes._CData | CtypesRef[ctypes._CData] | bytearray | mmap.mmap | int | _Unseen
_Handle: TypeAlias = ctypes.c_void_p | ctypes._Pointer[ctypes.c_void_p] | _Cdata
_Callback: TypeAlias = ctypes._CFunctionType | _Cdata

class _Structure(ctypes.Structure):
    # A field that a struct does not have is an error, which ctypes.Structure's own __getattr__ would hide.
    __getattr__: None  # type: ignore[misc, assignment]
    __setattr__: None  # type: ignore[misc, assignment]

# ---------------------------------------------------------------- what llama-cpp-python's module has beside C's names

_AnyType = TypeVar("_AnyType")

CtypesCData = TypeVar("CtypesCData", bound=ctypes._CData)
CtypesArray: TypeAlias = ctypes.Array[CtypesCData]
CtypesPointer: TypeAlias = ctypes._Pointer[CtypesCData]
CtypesPointerOrRef: TypeAlias = ctypes._Pointer[CtypesCData] | CtypesRef[CtypesCData]
CtypesVoidPointer: TypeAlias = ctypes.c_void_p
CtypesFuncPointer: TypeAlias = _CFuncPtr

def byref(obj: _T, offset: int = ...) -> CtypesRef[_T]: ...

LLAMA_MAX_DEVICES: Final[int]

_lib: _Library
_base_path: pathlib.Path
_lib_base_name: str

def load_shared_library(lib_base_name: str, base_path: object) -> _Library: ...
def ctypes_function(
    name: str, argtypes: object, restype: object, enabled: bool = True
) -> Callable[[_AnyType], _AnyType]: ...
def ctypes_function_for_shared_library(lib: object) -> Callable[..., Callable[[_AnyType], _AnyType]]: ...
