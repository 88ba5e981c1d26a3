"""Make one library's objects of ggml-cpu's levels: each private but for its public functions, and one entry for these.

Run by cpu_levels.cmake. A level's objects are joined to one; its inline functions, which C++ would share with the other
levels, become its own; and its public functions, which upstream marks as visible, get the level's name behind theirs.
Under the public name itself stands a stub, which jumps through the table of the level that core/cpu_levels.cpp chose.
Needs ld and objcopy of the GNU binutils.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

NEEDS = "llamacffi_cpu_needs"  # of engine/cpu_needs.cpp
OURS = "llamacffi_"  # what engine/waits.c defines for the rest of the extension; upstream's marks aren't for it

# A stub loads the chosen level's table and jumps; both registers are free at a call.
STUBS = {
    "x86_64": "    movq llamacffi_cpu_functions(%rip), %r11\n    jmpq *{offset}(%r11)\n",
    "aarch64": "    hint #34\n"  # bti c, for whoever enters through a pointer
    "    adrp x16, llamacffi_cpu_functions\n    ldr x16, [x16, #:lo12:llamacffi_cpu_functions]\n"
    "    ldr x16, [x16, #{offset}]\n    br x16\n",
}
MACHINES = {"AMD64": "x86_64", "amd64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}


class Failure(Exception):
    """The levels do not fit together; the text says why."""


class Symbol(NamedTuple):
    """A row of readelf's table."""

    name: str
    kind: str  # FUNC, OBJECT, …
    is_visible: bool
    is_defined: bool


def run(*command: str | Path) -> str:
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise Failure(f"{command[0]} failed on a CPU level, where GNU binutils are expected: {ended.stderr.strip()}")
    return ended.stdout


def global_symbols(readelf: str, path: Path) -> list[Symbol]:
    """Return what the object defines or lacks, without what is local."""
    rows = (line.split() for line in run(readelf, "--symbols", "--wide", path).splitlines())
    return [
        Symbol(row[7], row[3], row[5] == "DEFAULT", row[6] != "UND")
        for row in rows
        if len(row) == 8 and row[4] in ("GLOBAL", "WEAK", "UNIQUE")
    ]


def public_functions(symbols: list[Symbol]) -> set[str]:
    """Return the functions of C that the rest of the extension may call."""
    mangled = re.compile(r"_Z")
    return {
        one.name
        for one in symbols
        if one.is_defined
        and one.kind == "FUNC"
        and not mangled.match(one.name)
        and (one.is_visible or one.name.startswith(OURS))
    }


def refuse_constructors(readelf: str, level: str, path: Path) -> None:
    """A static constructor would run on any CPU, whichever level is chosen."""
    found = re.findall(r"\.(?:init_array|ctors)\S*", run(readelf, "--sections", "--wide", path))
    if found:
        raise Failure(f"the CPU level {level} has a static constructor ({found[0]}), which would run on every CPU")


def same_for_all(levels: dict[str, set[str]]) -> list[str]:
    """Return the public functions, which each level must have."""
    everywhere = set.intersection(*levels.values())
    for level, functions in levels.items():
        if extra := functions - everywhere:
            raise Failure(f"the CPU level {level} has public functions that another lacks: {', '.join(sorted(extra))}")
    return sorted(everywhere)


def suffix(level: str) -> str:
    return "__" + re.sub(r"\W", "_", level)


def make_private(objcopy: str, joined: Path, level: str, names: list[str], output: Path) -> None:
    """Rename what is public, and make all else local."""
    renames = {name: name + suffix(level) for name in [*names, NEEDS]}
    renaming, kept = joined.with_suffix(".renaming"), joined.with_suffix(".kept")
    renaming.write_text("".join(f"{old} {new}\n" for old, new in renames.items()))
    kept.write_text("".join(f"{new}\n" for new in renames.values()))
    renamed = joined.with_suffix(".renamed")
    run(objcopy, f"--redefine-syms={renaming}", joined, renamed)
    run(objcopy, f"--keep-global-symbols={kept}", renamed, output)
    renamed.unlink()


def stub(name: str, machine: str, offset: int) -> str:
    body = STUBS[machine].format(offset=offset)
    return f".globl {name}\n.hidden {name}\n.type {name}, %function\n{name}:\n{body}.size {name}, . - {name}\n"


def assembly(levels: list[str], names: list[str], machine: str) -> str:
    """Return the stubs, a table of functions for each level, and the list of the levels, best first."""
    stubs = [stub(name, machine, 8 * position) for position, name in enumerate(names)]
    tables, strings, listed = [], [], []
    for level in reversed(levels):
        mine = suffix(level)
        tables += [f"functions{mine}:\n", *(f"    .quad {name}{mine}\n" for name in names)]
        strings.append(f'name{mine}: .asciz "{level}"\n')
        listed.append(f"    .quad name{mine}, {NEEDS}{mine}, functions{mine}\n")
    return "".join(
        [
            "/* Made by cpu_levels.py. */\n.text\n",
            *stubs,
            '.section .rodata.levels, "a"\n',
            *strings,
            '.section .data.rel.ro, "aw"\n.balign 8\n',
            *tables,
            ".globl llamacffi_cpu_levels\n.hidden llamacffi_cpu_levels\nllamacffi_cpu_levels:\n",
            *listed,
            "    .quad 0, 0, 0\n",
            # Until one is chosen, the least.
            '.section .data.levels, "aw"\n.balign 8\n',
            ".globl llamacffi_cpu_functions\n.hidden llamacffi_cpu_functions\n",
            f"llamacffi_cpu_functions: .quad functions{suffix(levels[0])}\n",
            '.section .note.GNU-stack, "", %progbits\n',
        ]
    )


def make(given: argparse.Namespace) -> None:
    levels = {level: objects for level, *objects in given.level}
    given.output.mkdir(parents=True, exist_ok=True)
    joined = {level: given.output / f"{level}.joined" for level in levels}
    functions = {}
    for level, objects in levels.items():
        run(given.ld, "-r", "--force-group-allocation", "-o", joined[level], *objects)
        refuse_constructors(given.readelf, level, joined[level])
        functions[level] = public_functions(global_symbols(given.readelf, joined[level]))
    names = same_for_all(functions)
    for level in levels:
        make_private(given.objcopy, joined[level], level, names, given.output / f"{level}.o")
        joined[level].unlink()
    machine = MACHINES.get(given.machine, given.machine)
    (given.output / "cpu_levels.S").write_text(assembly(list(levels), names, machine), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for LEVEL.o and cpu_levels.S")
    parser.add_argument("--machine", required=True, help="CMAKE_SYSTEM_PROCESSOR")
    parser.add_argument("--ld", required=True)
    parser.add_argument("--objcopy", required=True)
    parser.add_argument("--readelf", required=True)
    parser.add_argument(
        "--level", nargs="+", action="append", required=True, metavar=("NAME", "OBJECT"), help="worst first"
    )
    try:
        make(parser.parse_args())
    except Failure as failure:
        sys.exit(f"llamacffi: {failure}")


if __name__ == "__main__":
    main()
