"""Read `policy.toml`, what we know about C functions that their headers do not say, and judge it against these.

The headers and the policy must meet: a name that only one of them has, a pointer that no rule covers, a handle of
unknown owner stop the build, with a sentence that says what to write. So a newer llama.cpp tells us what to decide. The
keys are described at the top of policy.toml; `function_table` turns the rules into the tables that csrc/ reads.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from pycparser import c_ast

from bindgen import memory_rules, trim_header
from bindgen.c_types import Kind, Types, is_variadic, parameter_names, parameters

FILE = pathlib.Path(__file__).with_name("policy.toml")

FLAGS = (
    *("keeps_gil", "creates", "borrows", "gives_back", "with_attached", "waits", "ignores_more", "as_pointer"),
    "never_null",
)
NAMES = ("owner", "frees", "copies", "replaced_by", "after", "allocates", "plain")
NUMBERS = ("fails_with",)
LISTS = ("nullable", "reads", "looks", "reenters", "computes", "keeps", "replaces", "fills", "wraps")
TABLES = ("bounds", "limits", "strings", "takes", "check", "reason", "also")
KEYS = frozenset((*FLAGS, *NAMES, *NUMBERS, *LISTS, *TABLES))
# What speaks of parameters: a name in the first two kinds is a parameter's, and so are the keys of the tables.
ABOUT_PARAMETERS = ("owner", "frees", "copies", *LISTS, "bounds", "limits", "strings", "takes", "reason", "also")

KIND_FLAGS = frozenset({"known", "dies_with_owner", "lives_on", "lasts", "exclusive", "has_fields", "untracked"})


class PolicyError(SystemExit):
    """The headers and the policy do not meet; the text is one sentence a line, for whoever builds."""

    def __init__(self, sentences: Iterable[str]) -> None:
        super().__init__("\n".join(f"bindgen/policy.toml: {one}" for one in sentences))


@dataclasses.dataclass(frozen=True)
class Rules:
    """What is known about one function; the fields are the keys of policy.toml."""

    keeps_gil: bool = False
    plain: bool | str = False
    creates: bool = False
    borrows: bool = False
    gives_back: bool = False
    with_attached: bool = False
    waits: bool = False
    ignores_more: bool = False
    as_pointer: bool = False
    never_null: bool = False
    owner: str = ""
    frees: str = ""
    copies: str = ""
    replaced_by: str = ""
    after: str = ""
    allocates: str = ""
    fails_with: int = 0
    nullable: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    reenters: tuple[str, ...] = ()
    computes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()
    wraps: tuple[str, ...] = ()
    bounds: dict[str, str | int] = dataclasses.field(default_factory=dict)
    limits: dict[str, list[str | int]] = dataclasses.field(default_factory=dict)
    strings: dict[str, str] = dataclasses.field(default_factory=dict)
    takes: dict[str, str] = dataclasses.field(default_factory=dict)
    check: dict[str, str] = dataclasses.field(default_factory=dict)
    reason: dict[str, str] = dataclasses.field(default_factory=dict)
    also: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Policy:
    """The whole file: kinds of handles, enums, structs, and the tables of functions by their pattern."""

    kinds: dict[str, dict[str, bool]]
    structs: dict[str, dict[str, Any]]
    enums: dict[str, dict[str, Any]]
    functions: dict[str, dict[str, Any]]

    def of(self, function: str) -> Rules:
        """Merge the tables that name the function, or match it: what is said of one name alone comes last.

        Lists and tables are joined.
        """
        merged: dict[str, Any] = {}
        matching = [(pattern, table) for pattern, table in self.functions.items() if matches(pattern, function)]
        for _, table in sorted(matching, key=lambda one: one[0] == function):
            for key, value in table.items():
                merged[key] = _joined(merged.get(key), value)
        fields: dict[str, Any] = {key: tuple(value) if key in LISTS else value for key, value in merged.items()}
        return Rules(**fields)


def _joined(known: Any, value: Any) -> Any:
    if isinstance(value, list):
        taken_back = {one[1:] for one in value if one.startswith("!")}
        return [one for one in dict.fromkeys([*(known or ()), *value]) if one.lstrip("!") not in taken_back]
    return {**(known or {}), **value} if isinstance(value, dict) else value


def matches(pattern: str, function: str) -> bool:
    return any(fnmatch.fnmatchcase(function, part) for part in pattern.split())


def load(file: pathlib.Path = FILE) -> Policy:
    """Read the policy; what is spelled wrong in it ends with a sentence."""
    text = tomllib.loads(file.read_text(encoding="utf-8"))
    policy = Policy(*(text.get(section, {}) for section in ("kinds", "structs", "enums", "functions")))
    if wrong := [*_unknown_keys(policy)]:
        raise PolicyError(wrong)
    return policy


def _unknown_keys(policy: Policy) -> Iterator[str]:
    for pattern, table in policy.functions.items():
        for key in table.keys() - KEYS:
            yield f'[functions."{pattern}"] has the unknown key {key!r}: use one of {", ".join(sorted(KEYS))}'
    for name, kind in policy.kinds.items():
        for key in kind.keys() - KIND_FLAGS:
            yield f"[kinds.{name}] has the unknown key {key!r}: use one of {', '.join(sorted(KIND_FLAGS))}"
    yield from memory_rules.unknown_keys(policy)


# ---------------------------------------------------------------- the headers against the policy


def judge(policy: Policy, header: trim_header.Header) -> None:
    """Raise PolicyError where the headers and the policy do not meet."""
    types = Types(header.nodes, handles_with_fields(policy))
    functions = {str(node.name): node for node in header.functions if not is_variadic(node)}
    sentences = [*_stale(policy, functions, header)]
    for name, node in functions.items():
        sentences += _judge_function(policy, types, name, node)
    sentences += _judge_ends(policy, types, functions)
    sentences += memory_rules.judge(policy, types, functions)
    if sentences:
        raise PolicyError(dict.fromkeys(sentences))


def handles_with_fields(policy: Policy) -> frozenset[str]:
    """Defined in full in the headers, but made, owned and freed by llama.cpp like an opaque handle."""
    return frozenset(name for name, kind in policy.kinds.items() if kind.get("has_fields"))


def _stale(policy: Policy, functions: dict[str, c_ast.Decl], header: trim_header.Header) -> Iterator[str]:
    """Name what the policy says of what the headers do not have."""
    for pattern, table in policy.functions.items():
        for part in pattern.split():
            if not fnmatch.filter(functions, part) and part not in header.excluded:
                yield f'{part} is no function of the headers: remove it, or correct the name in [functions."{pattern}"]'
        found = [node for name, node in functions.items() if matches(pattern, name)]
        known = {name for node in found for name in parameter_names(node)}
        for key in ABOUT_PARAMETERS:
            said = table.get(key, ())
            for name in said if key == "also" else _parameter_names(said):  # whose values are names for them
                if found and name not in known:
                    yield f"{pattern} has no parameter {name!r}, which {key} names: correct or remove it"


def _parameter_names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    names = [one.lstrip("!").split(".")[0] for one in value]  # `params.ctx_other` is a field of a parameter
    if isinstance(value, dict):
        names += [one for one in value.values() if isinstance(one, str) and one.isidentifier()]
    return names


def _judge_function(policy: Policy, types: Types, name: str, node: c_ast.Decl) -> Iterator[str]:
    rules = policy.of(name)
    result = types.kind(node.type.type)
    if result.name in ("HANDLE", "OBJECT"):
        yield from _judge_kind(policy, name, result)
        if rules.creates == rules.borrows:
            yield (
                f"{name} returns a {result.python} and does not say whose it is: write `creates = true` (a new object) "
                f"or `borrows = true`, and the parameter that it belongs to as `owner`, in [functions.{name}]"
            )
        if rules.creates and _is_followed(policy, result):
            yield from _judge_reads(policy, types, name, node)
    for parameter in parameters(node):
        kind = types.kind(parameter.type)
        if kind.name in ("HANDLE", "OBJECT"):
            yield from _judge_kind(policy, name, kind)


def _judge_reads(policy: Policy, types: Types, name: str, node: c_ast.Decl) -> Iterator[str]:
    """A new object may go on using the objects that it was made with; freeing must then wait for it."""
    rules = policy.of(name)
    said = {rules.owner, rules.copies, *rules.reads, *rules.reason}
    for parameter, spelled in zip(parameters(node), parameter_names(node), strict=True):
        kind = types.kind(parameter.type)
        if kind.name in ("HANDLE", "OBJECT") and _is_followed(policy, kind) and spelled not in said:
            yield (
                f"{name} makes an object of {spelled}, and does not say whether that is used any longer: write "
                f'`reads = ["{spelled}"]` (as long as the object lives), `owner = "{spelled}"` (which takes it along), '
                f'or the reason why not as `reason = {{{spelled} = "…"}}`, in [functions.{name}]'
            )


def _is_followed(policy: Policy, kind: Kind) -> bool:
    known = policy.kinds.get(kind.python, {})
    return not known.get("untracked") and not known.get("lasts")


def _judge_ends(policy: Policy, types: Types, functions: dict[str, c_ast.Decl]) -> Iterator[str]:
    """What others read, or reads others, is freed by a function of ours, which waits for the last reader."""
    read = {name for name, kind in policy.kinds.items() if kind.get("lives_on")}
    for name, node in functions.items():
        rules = policy.of(name)
        if rules.reads or rules.copies:
            read.add(types.kind(node.type.type).python)
    for name, node in functions.items():
        rules = policy.of(name)
        freed = [one for one in parameters(node) if one.name == rules.frees]
        if freed and types.kind(freed[0].type).python in read and not rules.replaced_by:
            yield (
                f"{name} frees what others read, or what reads others: write `replaced_by = …`, a function like those "
                "in csrc/engine/ends.cpp"
            )


def _judge_kind(policy: Policy, function: str, kind: Kind) -> Iterator[str]:
    if kind.python not in policy.kinds:
        yield (
            f"{kind.python} is a new type of handle (in {function}): write [kinds.{kind.python}] with `known = true` "
            "if each one comes out of a function's result, and `untracked = true` if its life is not followed"
        )
