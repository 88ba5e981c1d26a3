"""Write the tables that tell the border what each function takes and gives: the header `function_table.h`.

One row a parameter: its name and C type for error messages, and its kind, which chooses the conversion in
csrc/. Sizes are left to the compiler. The rows are sorted by the function's name, since csrc/ searches them at
compile time.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

from pycparser import c_ast, c_generator

from bindgen import trim_header

# The functions that cannot block and take less than a microsecond: they keep the GIL, which halves their cost.
GETTERS = frozenset(
    line
    for line in pathlib.Path(__file__).with_name("getters.txt").read_text(encoding="utf-8").split()
    if not line.startswith("#")
)

# Defined in full in the headers, but made, owned and freed by llama.cpp like an opaque handle.
HANDLES_WITH_FIELDS = frozenset({"llama_sampler"})

# Where C itself takes NULL for a handle or a text; a function that only frees takes it too.
NULLABLE = frozenset(
    {
        ("ggml_backend_dev_init", "params"),
        ("ggml_backend_init_by_name", "params"),
        ("ggml_backend_init_by_type", "params"),
        ("ggml_backend_load_all_from_path", "dir_path"),
        ("llama_chat_apply_template", "tmpl"),
        ("llama_model_chat_template", "name"),
        ("llama_set_sampler", "smpl"),
        ("ggml_graph_dump_dot", "cgraph"),
        ("llama_attach_threadpool", "threadpool_batch"),
        ("llama_opt_epoch", "result_train"),
        ("llama_opt_epoch", "result_eval"),
    }
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a parameter or a result is: a row's kind, the C type that it points to, and the ctypes type's name."""

    name: str
    item: str = "char"
    const: bool = False
    python: str = ""


class Types:
    """The header's typedefs and structs, to see what a type is in the end."""

    def __init__(self, nodes: list[c_ast.Node]) -> None:
        self._typedefs = {node.name: node.type for node in nodes if isinstance(node, c_ast.Typedef)}
        self._generator = c_generator.CGenerator()
        self._names = {node.type: name for name, node in self._typedefs.items() if isinstance(node, c_ast.TypeDecl)}
        self.structs = [struct for struct in _structs(nodes) if struct.decls]
        self.complete = {self.name(struct) for struct in self.structs}

    def text(self, node: c_ast.Node) -> str:
        return " ".join(self._generator.visit(node).replace(" restrict ", " ").split())

    def prototype(self, node: c_ast.Decl) -> str:
        return self.text(c_ast.Decl(node.name, [], [], [], [], node.type, None, None))

    def name(self, struct: c_ast.Struct) -> str:
        """Let `typedef struct { … } name` be known by the typedef's name, as cffi and C++ do."""
        return str(struct.name or self._names.get(struct, ""))

    def resolve(self, node: c_ast.Node) -> c_ast.Node:
        """Follow typedefs to a pointer, a function, a struct, an enum or a primitive type."""
        while isinstance(node, c_ast.TypeDecl):
            inner = node.type
            known = isinstance(inner, c_ast.IdentifierType) and self._typedefs.get(inner.names[0])
            if not known:
                return inner
            node = known
        return node

    def kind(self, node: c_ast.Node) -> Kind:
        """Classify the type `node` of a parameter, a result or a field."""
        end = self.resolve(node)
        if isinstance(end, c_ast.PtrDecl | c_ast.ArrayDecl):
            return self._pointer(end, node)
        if isinstance(end, c_ast.Struct):
            return Kind("VALUE", self.unnamed(node), python=self.name(end))
        if isinstance(end, c_ast.Enum):
            return Kind("ENUM", self.unnamed(node), python="c_int")
        return Kind("VOID" if end.names == ["void"] else "NUMBER", self.unnamed(node), python=_ctypes_name(end.names))

    def _pointer(self, pointer: c_ast.Node, named: c_ast.Node) -> Kind:
        target = pointer.type
        end = self.resolve(target)
        const = "const" in (getattr(target, "quals", None) or [])
        if isinstance(end, c_ast.FuncDecl):
            return Kind("FUNCTION", python=self._typedef_name(named))
        if isinstance(end, c_ast.Struct):
            return self._struct_pointer(end, const)
        if isinstance(end, c_ast.ArrayDecl):
            return self._pointer(end, named)
        if isinstance(end, c_ast.PtrDecl):
            inner = self.kind(target)
            return Kind("POINTERS", "void *", const, _pointer_name(inner))
        item = Kind("ENUM", python="c_int") if isinstance(end, c_ast.Enum) else self.kind(target)
        if end.names == ["void"]:
            return Kind("BYTES", "char", const, "c_void_p")
        if end.names == ["FILE"]:
            return Kind("HANDLE", python="FILE")
        if end.names == ["char"]:
            return Kind("TEXT" if const else "CHARS", "char", const, "c_char")
        return Kind("ITEMS", self.unnamed(target), const, item.python)

    def _struct_pointer(self, struct: c_ast.Struct, const: bool) -> Kind:
        name = self.name(struct)
        spelled = name if name in self._typedefs else f"struct {name}"
        if name in HANDLES_WITH_FIELDS:
            return Kind("OBJECT", spelled, const, name)
        if name in self.complete:
            return Kind("STRUCT", spelled, const, name)
        return Kind("HANDLE", python=name)

    def unnamed(self, node: c_ast.Node) -> str:
        """Spell the type without the name that it declares, to be given to sizeof."""
        return self.text(c_ast.Typename(None, [], None, _nameless(node)))

    @staticmethod
    def _typedef_name(node: c_ast.Node) -> str:
        """The name of a callback's typedef: cffi and ctypes both call the type by it."""
        return node.type.names[0] if isinstance(node, c_ast.TypeDecl) else ""


def table(header: trim_header.Header) -> str:
    """Write the C++ tables for `header`."""
    types = Types(header.nodes)
    functions = sorted(header.functions, key=lambda node: str(node.name))
    parameter_rows: list[str] = []
    rows = []
    for node in functions:
        if _is_variadic(node):
            continue
        own = [_parameter_row(types, node, parameter) for parameter in parameters(node)]
        hint = header.deprecated.get(node.name)
        rows.append(_function_row(types, node, len(parameter_rows), len(own), hint))
        parameter_rows += own
    return (
        "// Generated by build_ffi.py from llama.cpp's headers; do not edit.\n"
        "static constexpr llamacffi::parameter llamacffi_parameters[] = {\n" + "".join(parameter_rows) + "};\n"
        "static constexpr llamacffi::function llamacffi_functions[] = {\n" + "".join(rows) + "};\n"
    )


def names(header: trim_header.Header) -> str:
    """Name each wrapper of the generated file once, for csrc/module.cpp to make its built-in functions of."""
    fixed = sorted(str(node.name) for node in header.functions if not _is_variadic(node))
    return "".join(f"LLAMACFFI_FUNCTION({name})\n" for name in fixed)


def parameters(node: c_ast.Decl) -> list[c_ast.Node]:
    """The parameters of a function; `(void)` is none."""
    declared = node.type.args.params if node.type.args else []
    if len(declared) == 1 and isinstance(declared[0], c_ast.Typename) and _is_void(declared[0].type):
        return []
    return list(declared)


def _is_void(node: c_ast.Node) -> bool:
    return isinstance(node, c_ast.TypeDecl) and getattr(node.type, "names", None) == ["void"]


def _is_variadic(node: c_ast.Decl) -> bool:
    return any(isinstance(parameter, c_ast.EllipsisParam) for parameter in parameters(node))


def _parameter_row(types: Types, function: c_ast.Decl, node: c_ast.Node) -> str:
    kind = types.kind(node.type)
    freed = frees(function.name) and len(parameters(function)) == 1
    nullable = "true" if freed or (function.name, node.name) in NULLABLE else "false"
    name, c_type = _string(node.name or ""), _string(types.unnamed(node.type))
    return f"  {{{_kind(kind)}, {name}, {c_type}, {nullable}}},\n"


def frees(function: str) -> bool:
    return "free" in function.split("_")


def _function_row(types: Types, node: c_ast.Decl, first: int, count: int, hint: str | None) -> str:
    result = types.kind(node.type.type)
    getter = "true" if node.name in GETTERS else "false"
    prototype = types.prototype(node)
    names = ", ".join(parameter.name or f"arg{index}" for index, parameter in enumerate(parameters(node)))
    doc = f"{node.name}({names}{', /' if names else ''})\n--\n\n{prototype}"
    free = "true" if frees(node.name) else "false"
    if hint:
        doc += f"\n\nDeprecated: {hint}."
    texts = f"{_string(node.name)}, {_string(doc)}, {_string(hint) if hint else 'nullptr'}"
    return f"  {{{_kind(result)}, {texts}, {first}, {count}, {getter}, {free}}},\n"


def _kind(kind: Kind) -> str:
    size = f"sizeof({kind.item})" if kind.name not in ("VOID", "HANDLE", "FUNCTION") else "0"
    underlying = f"std::underlying_type_t<{kind.item}>" if kind.name == "ENUM" else kind.item
    shape = f"llamacffi::shape_of<{underlying}>()" if kind.name in ("ITEMS", "NUMBER", "ENUM") else "0"
    const = "true" if kind.const else "false"
    return f"{{llamacffi::kind::{kind.name}, {size}, {shape}, {const}, {_string(kind.python)}}}"


def _nameless(node: c_ast.Node) -> c_ast.Node:
    if isinstance(node, c_ast.TypeDecl):
        return c_ast.TypeDecl(None, [q for q in node.quals if q != "const"], None, node.type)
    if isinstance(node, c_ast.PtrDecl):
        return c_ast.PtrDecl([], _keep_const(node.type))
    if isinstance(node, c_ast.ArrayDecl):
        return c_ast.ArrayDecl(_keep_const(node.type), node.dim, [])
    return node


def _keep_const(node: c_ast.Node) -> c_ast.Node:
    """Drop the declared name below a pointer, and keep the qualifiers of what it points to."""
    if isinstance(node, c_ast.TypeDecl):
        return c_ast.TypeDecl(None, node.quals, None, node.type)
    return _nameless(node)


def _ctypes_name(names: list[str]) -> str:
    """The ctypes type of a primitive C type."""
    spelled = " ".join(names)
    return _CTYPES.get(spelled, "c_" + spelled.removesuffix("_t"))


_CTYPES = {"size_t": "c_size_t", "void": "", "unsigned int": "c_uint", "unsigned char": "c_ubyte"}


def _pointer_name(inner: Kind) -> str:
    """The ctypes type of what a pointer to a pointer points to."""
    if inner.name in ("STRUCT", "OBJECT", "ITEMS"):
        return f"POINTER({inner.python})"
    return {"TEXT": "c_char_p", "CHARS": "c_char_p", "FUNCTION": inner.python}.get(inner.name, "c_void_p")


def _structs(nodes: list[c_ast.Node]) -> list[c_ast.Struct]:
    class Collector(c_ast.NodeVisitor):
        def __init__(self) -> None:
            self.found: list[c_ast.Struct] = []

        def visit_Struct(self, node: c_ast.Struct) -> None:
            self.found.append(node)
            self.generic_visit(node)

    collector = Collector()
    for node in nodes:
        collector.visit(node)
    return collector.found


def _string(text: str) -> str:
    return json.dumps(text)
