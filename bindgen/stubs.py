"""Write the type stubs: every name of the modules, with C's prototype and the header's own comment.

The comments are upstream's, so the stubs are build products: shipped in the wheel, never committed. What stands before
the generated part is in `stub_heads/`.
"""

from __future__ import annotations

import ast
import keyword
import pathlib
import re
import textwrap
from collections.abc import Iterator

from pycparser import c_ast

from bindgen import comments, memory_rules, policy, trim_header
from bindgen.c_types import Kind, Types, found, is_variadic, parameter_names, parameters
from bindgen.function_table import in_python
from bindgen.python_types import ADAPTER, PythonTypes, callback_name, handle

HERE = pathlib.Path(__file__).resolve().parent
PYTHON_NAMES = HERE.parent / "src" / "llamacffi" / "python_names.py"
WITH_POINTERS = ("llama_", "gguf_", "mtmd_")  # structs that have names for pointers to them
MIXINS = {"llama_model_params": "_LoadMode", "llama_context_params": "_FlashAttention"}  # as old_code.FIELDS

# What Python names otherwise than the headers do.
OWN = {
    "llama_model_save_to_file": """\
@overload
def llama_model_save_to_file(model: llama_model_p | _Handle, fname: bytes | str | os.PathLike[str]) -> bool:
    \"\"\"Save a model to a GGUF file; False where that failed.\"\"\"

@overload
def llama_model_save_to_file(model: llama_model_p | _Handle, *, path_model: bytes | str | os.PathLike[str]) -> bool:
    \"\"\"The same, by the header's name.\"\"\"
""",
}
OLD = {
    "llama_log_callback": "llama_log_callback = ggml_log_callback\n",
    "llama_kv_cache_p": 'llama_kv_cache_p = NewType("llama_kv_cache_p", int)\n',
    "llama_kv_cache_p_ctypes": "llama_kv_cache_p_ctypes: TypeAlias = ctypes.c_void_p\n",
    "llama_memory_i_p": "llama_memory_i_p: TypeAlias = llama_memory_t\n",
    "llama_memory_i_p_ctypes": "llama_memory_i_p_ctypes: TypeAlias = ctypes.c_void_p\n",
    "llama_set_adapter_lora": """\
@deprecated("use llama_set_adapters_lora instead")
def llama_set_adapter_lora(ctx: llama_context_p | _Handle, adapter: _Handle, scale: float) -> int: ...
""",
    "llama_apply_adapter_cvec": """\
@deprecated("use llama_set_adapter_cvec instead")
def llama_apply_adapter_cvec(
    ctx: llama_context_p | _Handle,
    data: _Items_float | _Numbers | None,
    len: int,
    n_embd: int,
    il_start: int,
    il_end: int,
) -> int: ...
""",
}

Field = tuple[str, str, str, str]  # name, annotation, what it may be set to, comment


class Stubs:
    """The stubs' parts, by the names that they declare: constants, types, functions."""

    def __init__(self, header: trim_header.Header, rules: policy.Policy) -> None:
        self.header, self.policy = header, rules
        self.types = Types(header.nodes, policy.handles_with_fields(rules))
        self.python = PythonTypes(self.types, {str(node.name) for node in header.functions})
        self.constants = dict(self._constants())
        self.declared = dict(self._types())
        self.functions = {node.name: OWN.get(node.name) or self._function(node) for node in header.functions}

    def texts(self) -> dict[str, str]:
        """Return the stubs, by the names of their files."""
        return {"llama_cpp.pyi": self._facade(), "mtmd_cpp.pyi": self._media(), "_llama.pyi": self._extension()}

    def _facade(self) -> str:
        return "\n".join([head("llama_cpp"), *(self.constants | self.declared | self.functions).values()])

    def _media(self) -> str:
        own = head("mtmd_cpp")
        all_names = [*self.constants, *self.declared, *self.functions]
        given = [one for one in all_names if one.lower().startswith("mtmd_") and f"def {one}(" not in own]
        names = "".join(f"    {one} as {one},\n" for one in given)
        return f"{own}\nfrom llamacffi.llama_cpp import (\n{names})\n"

    def _extension(self) -> str:
        """`lib` has the facade's functions and constants; their comments stand there."""
        lines = [f"{name}: Final[int]\n" for name in self.constants if not name.startswith("LLAMA_VOCAB_PRE_TYPE_")]
        signatures = [one for node in self.header.functions for one in self._signatures(node, "@staticmethod")]
        lines += [f"{signature} ...\n" for signature in signatures]
        body = textwrap.indent("".join(lines), "    ")
        known = {*self.declared, *re.findall(r"^(?:class )?(_\w+)\b", head("llama_cpp"), re.M)}
        used = sorted(known & {*re.findall(r"\w+", body)})
        imports = "".join(f"    {name},\n" for name in used)
        return f"{head('_llama')}\nfrom llamacffi.llama_cpp import (\n{imports})\n\nclass _Lib:\n{body}\nlib: _Lib\n"

    # ---------------------------------------------------------------- constants

    def _constants(self) -> Iterator[tuple[str, str]]:
        places = dict(self.header.places)
        for node in found(self.header.nodes, c_ast.Enumerator):
            places[node.name] = (node.coord.file, node.coord.line)
        for node in self.header.nodes:
            if isinstance(node, c_ast.Decl) and node.name and not trim_header.is_function(node):
                places[node.name] = (node.coord.file, node.coord.line)  # static: only the compiler can evaluate it
        for name, place in places.items():
            yield name, f"{name}: Final[int]\n{docstring(comments.at(*place))}"
        yield from ((name, f"{name}: Final[int]\n") for name in pre_types())

    # ---------------------------------------------------------------- types

    def _types(self) -> Iterator[tuple[str, str]]:
        yield from self._handles()
        for node in self.header.nodes:
            if isinstance(node, c_ast.Typedef):
                yield from self._typedef(node)
        for struct in self.types.structs:
            yield from self._structure(struct)
        yield from OLD.items()

    def _handles(self) -> Iterator[tuple[str, str]]:
        """Each kind of handle, and what stands for one in a ctypes array or struct."""
        named = {node.name for node in found(self.header.nodes, c_ast.Struct) if node.name}
        for kind in sorted((named | self.policy.kinds.keys()) - self.types.complete):
            name = handle(kind)
            made = ": TypeAlias = ctypes.c_void_p" if kind == ADAPTER else f' = NewType("{name}", int)'
            pointer = "ctypes._Pointer[ctypes.c_void_p]" if kind == ADAPTER else "ctypes.c_void_p"
            yield name, f"{name}{made}\n"
            yield f"{name}_ctypes", f"{name}_ctypes: TypeAlias = {pointer}\n"

    def _typedef(self, node: c_ast.Typedef) -> Iterator[tuple[str, str]]:
        name, end = node.name, self.types.resolve(node.type)
        if isinstance(end, c_ast.PtrDecl) and isinstance(end.type, c_ast.FuncDecl):
            yield name, self._callback(name, end.type, docstring(self._said(node)))
        elif not isinstance(end, c_ast.Struct | c_ast.Enum | c_ast.ArrayDecl) and name != handle("llama_memory_i"):
            yield name, f"{name}: TypeAlias = {self.python.ctypes_type('', '', node.type)}\n"
        if name == "llama_token":  # the one number that has names for pointers to it
            yield from self._pointers(name, "ctypes.c_int32")

    def _pointers(self, name: str, made: str) -> Iterator[tuple[str, str]]:
        for suffix in ("p", "p_ctypes"):
            yield f"{name}_{suffix}", f"{name}_{suffix}: TypeAlias = ctypes._Pointer[{made}]\n"

    def _structure(self, struct: c_ast.Struct) -> Iterator[tuple[str, str]]:
        owner = self.types.name(struct)
        if not owner:
            return  # comes with the struct that it is in
        yield from self._declared_in_place(owner, struct)
        name, fields = self.python.class_name(owner), self._fields(owner, struct)
        if any(isinstance(field.type, c_ast.Union) for field in struct.decls):
            union = f"{owner}_value"
            fields.append(("value", f"ctypes._CField[{union}, {union}, {union}]", union, ""))
        bases = ", ".join(filter(None, (MIXINS.get(owner), "_Structure")))
        yield name, class_text(name, bases, docstring(comments.of(struct)), fields)
        if owner.startswith(WITH_POINTERS):
            yield from self._pointers(owner, name)

    def _declared_in_place(self, owner: str, struct: c_ast.Struct) -> Iterator[tuple[str, str]]:
        """The structs, unions and callbacks that a struct declares in the place of a field."""
        for field in struct.decls:
            end = getattr(field.type, "type", field.type)
            if isinstance(field.type, c_ast.Union):
                name = f"{owner}_value"
                yield name, class_text(name, "ctypes.Union", "", self._fields(owner, field.type))
            elif isinstance(end, c_ast.Struct) and end.decls:
                name = f"_{owner}_{field.name}"
                yield name, class_text(name, "_Structure", "", self._fields(owner, end))
            elif isinstance(end, c_ast.FuncDecl) and (name := callback_name(owner, field.name)):
                yield name, self._callback(name, end, docstring(comments.of(field)))

    def _fields(self, owner: str, struct: c_ast.Struct) -> list[Field]:
        """Those that Python can spell."""
        spelled = [field for field in struct.decls if field.name and not keyword.iskeyword(field.name)]
        return [(field.name, *self._field(owner, field), comments.of(field)) for field in spelled]

    def _field(self, owner: str, field: c_ast.Decl) -> tuple[str, str]:
        """Return the annotation of a field, and what it may be set to."""
        made = self.python.ctypes_type(owner, field.name, field.type)
        got = self.python.read(field.type, made, field.name)
        written = self.python.written(field.type, made, field.name)
        return f"ctypes._CField[{made}, {got}, {written}]", written

    def _callback(self, name: str, function: c_ast.FuncDecl, doc: str) -> str:
        given = list(self._callback_parameters(name, function))
        result = self.python.result_of_callback(name, function.type)
        types = ", ".join(annotation for _, annotation in given)
        named = "".join(f"{spelled}: {annotation}, " for spelled, annotation in given)
        return (
            f"@final\nclass {name}(_CFuncPtr):\n{textwrap.indent(doc, '    ')}"
            f"    def __new__(cls, function: Callable[[{types}], {result}] | int = ..., /) -> Self: ...\n"
            f"    def __call__(self, {named}{'/' * bool(given)}) -> {result}: ...\n"
        )

    def _callback_parameters(self, name: str, function: c_ast.FuncDecl) -> Iterator[tuple[str, str]]:
        node = c_ast.Decl(name, [], [], [], [], function, None, None)
        for parameter, spelled in zip(parameters(node), parameter_names(node), strict=True):
            made = self.python.ctypes_type(name, "", parameter.type)
            got = self.python.read(parameter.type, made)
            yield in_python(spelled), got.replace("bytes | None", "bytes | _MaybeNone")

    # ---------------------------------------------------------------- functions

    def _function(self, node: c_ast.Decl) -> str:
        said = textwrap.indent(docstring(self._said(node)), "    ")
        return "\n".join(f"{signature}\n{said}" for signature in self._signatures(node))

    def _said(self, node: c_ast.Decl) -> str:
        return f"{self.types.prototype(node)}\n\n{comments.of(node)}".strip()

    def _signatures(self, node: c_ast.Decl, *decorators: str) -> Iterator[str]:
        """One, or two where a parameter has a documented name beside the header's."""
        also, names = self.policy.of(node.name).also, parameter_names(node)
        hint = self.header.deprecated.get(node.name)
        before = ["@overload"] * bool(also) + [*decorators] + [f"@deprecated({hint!r})"] * bool(hint)
        for spelled in [names, [also.get(name, name) for name in names]] if also else [names]:
            yield "\n".join([*before, self._signature(node, spelled)])

    def _signature(self, node: c_ast.Decl, names: list[str]) -> str:
        rules = self.policy.of(node.name)
        result = self.python.returned(self.types.kind(node.type.type), rules.as_pointer, rules.never_null)
        given = [f"{in_python(name)}: {one}" for name, one in zip(names, self._accepted(node, rules), strict=False)]
        rest = ["*arguments: _Cdata"] * is_variadic(node)
        return f"def {node.name}({', '.join(given + rest)}) -> {result}:"

    def _accepted(self, node: c_ast.Decl, rules: policy.Rules) -> Iterator[str]:
        for parameter, name in zip(parameters(node), parameter_names(node), strict=True):
            if not isinstance(parameter, c_ast.EllipsisParam):
                kind = self.types.kind(parameter.type)
                yield self.python.accepted(kind, self._may_be_null(node, name, kind, rules))

    def _may_be_null(self, node: c_ast.Decl, name: str, kind: Kind, rules: policy.Rules) -> bool:
        if kind.name in ("HANDLE", "OBJECT"):
            return memory_rules.is_nullable(node, name, rules)
        return not is_variadic(node) and not memory_rules.is_required(self.types, node, name, kind, rules)


def stubs(header: trim_header.Header, rules: policy.Policy) -> dict[str, str]:
    """Return the texts of the stubs, by the names of their files."""
    return Stubs(header, rules).texts()


def head(module: str) -> str:
    """Return what stands before the generated part of a stub."""
    return (HERE / "stub_heads" / f"{module}.pyi").read_text(encoding="utf-8")


def pre_types() -> list[str]:
    """Return the constants that `python_names` makes, which cannot be imported before the extension is built."""
    for node in ast.parse(PYTHON_NAMES.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VOCAB_PRE_TYPES":
            return [f"LLAMA_VOCAB_PRE_TYPE_{name}" for name in ast.literal_eval(node.value)]
    raise ValueError(f"{PYTHON_NAMES} has no VOCAB_PRE_TYPES")


def class_text(name: str, bases: str, doc: str, fields: list[Field]) -> str:
    """Write a struct: its fields, each with its comment, and what may be given when it is made."""
    lines = [doc, *(f"{field}: {annotation}\n{docstring(said)}" for field, annotation, _, said in fields)]
    given = ", ".join(f"{field}: {written} = ..." for field, _, written, _ in fields)
    lines.append(f"def __init__(self, {given}) -> None: ...\n")
    return f"class {name}({bases}):\n{textwrap.indent(''.join(lines), '    ')}"


def docstring(text: str) -> str:
    """Write a text as a docstring; nothing for no text."""
    lines = text.replace("\\", "\\\\").replace('"""', "'''").removesuffix('"').splitlines()
    return "\n".join(['"""' + lines[0], *lines[1:]]) + '"""\n' if lines else ""
