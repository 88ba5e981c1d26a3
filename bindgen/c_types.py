"""What the C types of the headers are to the border: one kind each, found by following typedefs.

Beside the class stand the questions about declarations that the generators share.
"""

from __future__ import annotations

import dataclasses

from pycparser import c_ast, c_generator


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a parameter or a result is: a row's kind, the C type that it points to, and the ctypes type's name."""

    name: str
    item: str = "char"
    const: bool = False
    python: str = ""
    target: str = ""  # of a pointer to handles: their kind


class Types:
    """The header's typedefs and structs, to see what a type is in the end."""

    def __init__(self, nodes: list[c_ast.Node], handles_with_fields: frozenset[str] = frozenset()) -> None:
        self._handles_with_fields = handles_with_fields
        self._typedefs = {node.name: node.type for node in nodes if isinstance(node, c_ast.Typedef)}
        self._generator = c_generator.CGenerator()
        self._names = {node.type: name for name, node in self._typedefs.items() if isinstance(node, c_ast.TypeDecl)}
        self.structs = [struct for struct in _structs(nodes) if struct.decls]
        self.complete = {self.name(struct) for struct in self.structs}
        self._declared = {self.name(struct): struct.decls for struct in self.structs}
        self._enums = {node.name: node for node in found(nodes, c_ast.Enum) if node.values}

    def declared(self, struct: str) -> list[c_ast.Decl]:
        """The fields of a struct that the headers define; none of any other."""
        return list(self._declared.get(struct, ()))

    def enumerators(self, enum: str) -> list[str]:
        """The names that the headers give an enum's values; `enum` is spelled as in C."""
        found = self._enums.get(enum.removeprefix("enum ")) or self.resolve(self._typedefs[enum])
        return [one.name for one in found.values.enumerators]

    def text(self, node: c_ast.Node) -> str:
        return " ".join(self._generator.visit(node).replace(" restrict ", " ").split())

    def prototype(self, node: c_ast.Decl) -> str:
        return self.text(c_ast.Decl(node.name, [], [], [], [], node.type, None, None))

    def name(self, struct: c_ast.Struct) -> str:
        """Let `typedef struct { … } name` be known by the typedef's name, as cffi and C++ do."""
        return str(struct.name or self._names.get(struct, ""))

    def struct(self, name: str) -> c_ast.Struct | None:
        """Return the struct of that name, if the headers define it."""
        return next((one for one in self.structs if self.name(one) == name), None)

    def spelled(self, struct: str) -> str:
        """How C spells the type of a struct."""
        return struct if struct in self._typedefs else f"struct {struct}"

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
            target = inner.python if inner.name in ("HANDLE", "OBJECT") else ""
            return Kind("POINTERS", "void *", const, _pointer_name(inner), target)
        item = Kind("ENUM", python="c_int") if isinstance(end, c_ast.Enum) else self.kind(target)
        if end.names == ["void"]:
            return Kind("BYTES", "char", const, "c_void_p")
        if end.names == ["FILE"]:
            return Kind("HANDLE", const=const, python="FILE")
        if end.names == ["char"]:
            return Kind("TEXT" if const else "CHARS", "char", const, "c_char")
        return Kind("ITEMS", self.unnamed(target), const, item.python)

    def _struct_pointer(self, struct: c_ast.Struct, const: bool) -> Kind:
        name = self.name(struct)
        spelled = self.spelled(name)
        if name in self._handles_with_fields:
            return Kind("OBJECT", spelled, const, name)
        if name in self.complete:
            return Kind("STRUCT", spelled, const, name)
        return Kind("HANDLE", const=const, python=name)

    def unnamed(self, node: c_ast.Node) -> str:
        """Spell the type without the name that it declares, to be given to sizeof."""
        return self.text(c_ast.Typename(None, [], None, _nameless(node)))

    @staticmethod
    def _typedef_name(node: c_ast.Node) -> str:
        """The name of a callback's typedef: cffi and ctypes both call the type by it."""
        return node.type.names[0] if isinstance(node, c_ast.TypeDecl) else ""


def parameters(node: c_ast.Decl) -> list[c_ast.Node]:
    """The parameters of a function; `(void)` is none."""
    declared = node.type.args.params if node.type.args else []
    if len(declared) == 1 and isinstance(declared[0], c_ast.Typename) and _is_void(declared[0].type):
        return []
    return list(declared)


def parameter_names(node: c_ast.Decl) -> list[str]:
    """What the parameters are called; one that the header gives no name is `arg` and its position."""
    return [getattr(parameter, "name", None) or f"arg{index}" for index, parameter in enumerate(parameters(node))]


def _is_void(node: c_ast.Node) -> bool:
    return isinstance(node, c_ast.TypeDecl) and getattr(node.type, "names", None) == ["void"]


def is_variadic(node: c_ast.Decl) -> bool:
    return any(isinstance(parameter, c_ast.EllipsisParam) for parameter in parameters(node))


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
    return found(nodes, c_ast.Struct)


def found(nodes: list[c_ast.Node], kind: type[c_ast.Node]) -> list[c_ast.Node]:
    """All nodes of a kind, the inner ones behind those that they stand in."""
    found: list[c_ast.Node] = []
    open_nodes = [*reversed(nodes)]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, kind):
            found.append(node)
        open_nodes += [child for _, child in reversed(node.children())]
    return found
