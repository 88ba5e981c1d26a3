"""Cut llama.cpp's public headers down to what cffi's `cdef` can read.

pcpp preprocesses `llama.h` with all that it includes from llama.cpp, pycparser parses the result, and the
generator below writes it back with the values that only the compiler knows replaced by cffi's dots. Structs
stay whole, so a field that differs from the headers fails the C++ build.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import pcpp
from pycparser import c_ast, c_generator, c_parser

HEADERS = (
    "llama.h",
    "ggml.h",
    "ggml-alloc.h",
    "ggml-backend.h",
    "ggml-cpu.h",
    "ggml-opt.h",
    "ggml-rpc.h",
    "gguf.h",
    "mtmd.h",
    "mtmd-helper.h",
)
FOLDERS = ("include", "ggml/include", "tools/mtmd")  # where they are in a checkout

# cffi knows these names; pycparser has to be told that they are types.
_INTEGERS = [f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)]
BUILTIN_TYPES = ("size_t", "FILE", "bool", "va_list", *_INTEGERS)


@dataclasses.dataclass(frozen=True)
class Header:
    """The trimmed declarations.

    `nodes` in their order, `defines` by name, `excluded` as name to reason, `deprecated` as function to the
    header's hint, `places` of the defines as file and line.
    """

    nodes: list[c_ast.Node]
    defines: list[str]
    excluded: dict[str, str]
    deprecated: dict[str, str]
    places: dict[str, tuple[str, int]]

    @property
    def functions(self) -> list[c_ast.Decl]:
        return [node for node in self.nodes if is_function(node)]

    def without(self, names: Iterable[str], reason: str) -> Header:
        """Drop the functions in `names`, and remember the reason."""
        dropped = set(names)
        kept = [node for node in self.nodes if not (is_function(node) and node.name in dropped)]
        return dataclasses.replace(self, nodes=kept, excluded=self.excluded | dict.fromkeys(dropped, reason))

    def cdef(self) -> str:
        """Write the declarations as text for `ffi.cdef`."""
        generator = _CdefGenerator()
        lines = [f"#define {name} ..." for name in self.defines]
        lines += [_declaration(generator, node) for node in self.nodes]
        return "\n".join(lines) + "\n"


def is_function(node: c_ast.Node) -> bool:
    return isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl)


def trim(source: pathlib.Path) -> Header:
    """Read the headers of the llama.cpp checkout `source`."""
    preprocessor = _Preprocessor([source / folder for folder in FOLDERS])
    text = preprocessor.expand(f'#include "{name}"' for name in HEADERS)
    defines, excluded = preprocessor.integer_defines()
    nodes = []
    for node in _first_of_each(_parse(text)):
        reason = _not_declarable(node)
        if reason:
            excluded[node.name] = reason
        else:
            nodes.append(node)
    return Header(nodes, defines, excluded, preprocessor.deprecated, preprocessor.places(defines))


def _parse(text: str) -> list[c_ast.Node]:
    prologue = "".join(f"typedef int {name};\n" for name in BUILTIN_TYPES)
    nodes: list[c_ast.Node] = c_parser.CParser().parse(prologue + text, "llama.h").ext
    return nodes[len(BUILTIN_TYPES) :]


def _first_of_each(nodes: Iterable[c_ast.Node]) -> Iterator[c_ast.Node]:
    """C allows a declaration to be repeated, cffi does not."""
    seen = set()
    generator = c_generator.CGenerator()
    for node in nodes:
        text = generator.visit(node.decl if isinstance(node, c_ast.FuncDef) else node)
        if text not in seen:
            seen.add(text)
            yield node.decl if isinstance(node, c_ast.FuncDef) else node


def _not_declarable(node: c_ast.Node) -> str | None:
    """Say why cffi cannot take this declaration, or None."""
    if is_function(node) and "va_list" in c_generator.CGenerator().visit(node):
        return "va_list cannot cross from Python"
    return None


def _declaration(generator: c_generator.CGenerator, node: c_ast.Node) -> str:
    """One declaration a line; what is static has its value from the compiler, like an enum."""
    if isinstance(node, c_ast.Decl):
        node.storage = [word for word in node.storage if word != "extern"]
        node.init = None
    return " ".join(generator.visit(node).split()) + ";"


class _Preprocessor(pcpp.Preprocessor):
    """pcpp, which leaves system headers alone and remembers which file defined a macro."""

    def __init__(self, folders: list[pathlib.Path]) -> None:
        super().__init__()
        for folder in folders:
            self.add_path(str(folder))
        self.define("__STDC_VERSION__ 199901L")
        self.define("UINTPTR_MAX 0xFFFFFFFFFFFFFFFF")
        self._foreign = set(self.macros)
        self.deprecated: dict[str, str] = {}

    def expand(self, includes: Iterable[str]) -> str:
        self.parse("\n".join(includes))
        text = io.StringIO()
        self.write(text)
        if self.return_code:
            raise SystemExit("pcpp could not preprocess llama.h; its messages are above")
        return text.getvalue()

    def macro_expand_args(self, macro: pcpp.parser.Macro, args: list[list[Any]]) -> Any:
        """Note what `DEPRECATED(declaration, hint)` says before it is expanded away."""
        if macro.name in ("DEPRECATED", "GGML_DEPRECATED"):
            words = [token.value for token in args[0] if token.type != self.t_SPACE]
            hint = "".join(token.value for token in args[1]).strip()
            self.deprecated[words[words.index("(") - 1]] = hint.strip('"')
        return super().macro_expand_args(macro, args)

    def on_include_not_found(self, is_malformed: bool, is_system_include: bool, curdir: str, includepath: str) -> None:
        if is_malformed or not is_system_include:
            super().on_include_not_found(is_malformed, is_system_include, curdir, includepath)
        raise pcpp.OutputDirective(pcpp.Action.IgnoreAndRemove)

    def integer_defines(self) -> tuple[list[str], dict[str, str]]:
        """Sort the object-like macros that hold a value: integers, and what is none with the reason."""
        integers, others = [], {}
        for name, macro in self.macros.items():
            if name in self._foreign or name.startswith("__") or not macro.value:
                continue
            if macro.arglist is not None:
                others[name] = "a macro with parameters has no address and no value"
            elif self._is_integer(macro):
                integers.append(name)
            else:
                others[name] = "a macro whose value is not an integer"
        return integers, others

    def places(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        return {name: (self.macros[name].source, self.macros[name].lineno) for name in names}

    def _is_integer(self, macro: pcpp.parser.Macro) -> bool:
        tokens = self.expand_macros([copy.copy(token) for token in macro.value])
        if any(token.type in (self.t_STRING, self.t_ID) for token in tokens):
            return False
        errors = self.return_code
        self.evalexpr(tokens)
        failed: bool = self.return_code != errors
        return not failed


class _CdefGenerator(c_generator.CGenerator):
    """Write C as cffi wants it: `...` for what the compiler computes."""

    def visit_Enumerator(self, node: c_ast.Enumerator) -> str:
        return f"{self._make_indent()}{node.name} = ...,\n"

    def _generate_type(self, node: c_ast.Node, *args: object, **kwargs: object) -> str:
        if isinstance(node, c_ast.ArrayDecl) and node.dim and not isinstance(node.dim, c_ast.Constant):
            node.dim = c_ast.ID("...")
        return str(super()._generate_type(node, *args, **kwargs))
