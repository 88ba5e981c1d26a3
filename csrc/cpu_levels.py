"""Make one library's objects of ggml-cpu's levels: each private but for its public functions, and one entry for these.

Run by cpu_levels.cmake. What the compiler made alike for several levels is there once, for these: a part. A part's
objects are joined to one; its inline functions, which C++ would share with the other parts, become its own; and what
others call gets the part's name behind its own. Under the public name itself stands a stub, which jumps through the
table of the level that core/cpu_levels.cpp chose; so do a part's calls of what its levels do not share.
Needs ld and objcopy of the GNU binutils.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import defaultdict
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


Levels = tuple[str, ...]


class Symbol(NamedTuple):
    """A row of readelf's table."""

    name: str
    kind: str  # FUNC, OBJECT, …
    size: str
    is_visible: bool
    section: str  # its name; empty where the symbol is not defined
    alignment: int  # of the section

    @property
    def is_function(self) -> bool:
        return self.kind == "FUNC"

    @property
    def starts_as_zero(self) -> bool:
        """Say whether it is memory that is zero at the start, so that it may be any level's."""
        return self.section.startswith(".bss")

    @property
    def is_constant(self) -> bool:
        """Say whether nobody writes to it; the compiler's own pointers for exceptions are not marked so."""
        return self.section.startswith((".rodata", ".data.rel.ro")) or self.name.startswith("DW.ref.")


class Compiled(NamedTuple):
    """An object that the compiler made alike for these levels."""

    levels: Levels
    path: Path
    symbols: dict[str, Symbol]


def run(*command: str | Path) -> str:
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise Failure(f"{command[0]} failed on a CPU level, where GNU binutils are expected: {ended.stderr.strip()}")
    return ended.stdout


def global_symbols(readelf: str, path: Path) -> dict[str, Symbol]:
    """Return what the object defines or lacks, without what is local."""
    listed = run(readelf, "--sections", "--wide", path)
    sections = {
        index: (name, int(alignment))
        for index, name, alignment in re.findall(r"^ +\[ *(\d+)\] (\S+) .* (\d+)$", listed, re.M)
    }
    rows = (line.split() for line in run(readelf, "--symbols", "--wide", path).splitlines())
    return {
        row[7]: Symbol(row[7], row[3], row[2], row[5] == "DEFAULT", *sections.get(row[6], ("", 0)))
        for row in rows
        if len(row) == 8 and row[4] in ("GLOBAL", "WEAK", "UNIQUE")
    }


def refuse_constructors(readelf: str, one: Compiled) -> None:
    """A static constructor would run on any CPU, whichever level is chosen."""
    found = re.findall(r"\.(?:init_array|ctors)\S*", run(readelf, "--sections", "--wide", one.path))
    if found:
        raise Failure(
            f"the CPU level {one.levels[0]} has a static constructor ({found[0]}), which would run on every CPU"
        )


def public_functions(everything: list[Compiled], level: str) -> set[str]:
    """Return the functions of C that the rest of the extension may call."""
    return {
        symbol.name
        for one in everything
        for symbol in one.symbols.values()
        if level in one.levels
        and symbol.section
        and symbol.is_function
        and not symbol.name.startswith("_Z")
        and (symbol.is_visible or symbol.name.startswith(OURS))
    }


def same_for_all(levels: dict[str, set[str]]) -> set[str]:
    """Return the public functions, which each level must have."""
    everywhere = set.intersection(*levels.values())
    for level, functions in levels.items():
        if extra := functions - everywhere:
            raise Failure(f"the CPU level {level} has public functions that another lacks: {', '.join(sorted(extra))}")
    return everywhere


# ---------------------------------------------------------------- what several levels share


def compiled(readelf: str, levels: dict[str, list[Path]]) -> list[Compiled]:
    """Return the objects of all levels; those of one source that are the same, once."""
    found = []
    for paths in zip(*levels.values(), strict=True):
        alike = defaultdict(list)
        for level, path in zip(levels, paths, strict=True):
            alike[path.read_bytes()].append((level, path))
        for same in alike.values():
            path = same[0][1]
            found.append(Compiled(tuple(level for level, _ in same), path, global_symbols(readelf, path)))
    return found


def definers(everything: list[Compiled]) -> dict[str, list[Compiled]]:
    found = defaultdict(list)
    for one in everything:
        for symbol in one.symbols.values():
            if symbol.section:
                found[symbol.name].append(one)
    return found


def zeroed(defined: dict[str, list[Compiled]]) -> dict[str, Levels]:
    """Return the data that needs to be there only once, since one level alone is chosen, and whose it is then.

    The compiler relies on the alignment that it gave to a level's own.
    """
    found = {}
    for name, those in defined.items():
        symbols = [one.symbols[name] for one in those]
        if all(symbol.starts_as_zero for symbol in symbols) and len({symbol.size for symbol in symbols}) == 1:
            found[name] = max(those, key=lambda one: one.symbols[name].alignment).levels
    return found


def is_torn(one: Compiled, defined: dict[str, list[Compiled]], common: dict[str, Levels]) -> bool:
    """Say whether its levels cannot share an object: it uses data of which they have one each."""
    for name, symbol in one.symbols.items():
        others = [other for other in defined.get(name, ()) if set(other.levels) & set(one.levels)]
        if not others or name in common or all(other.symbols[name].is_function for other in others):
            continue
        for_all = [set(one.levels) <= set(other.levels) for other in others]
        if not (symbol.is_constant or all(for_all) if symbol.section else any(for_all)):
            return True
    return False


def shared(everything: list[Compiled]) -> list[Compiled]:
    """Give each level its own of what cannot be shared, until all that is left can."""
    defined = definers(everything)
    torn = [one for one in everything if len(one.levels) > 1 and is_torn(one, defined, zeroed(defined))]
    if not torn:
        return everything
    own = [Compiled((level,), one.path, one.symbols) for one in torn for level in one.levels]
    return shared([one for one in everything if one not in torn] + own)


# ---------------------------------------------------------------- the parts


def label(level: str) -> str:
    return re.sub(r"\W", "_", level)


class Part:
    """What is compiled alike for these levels, and for no others."""

    def __init__(self, levels: Levels, objects: list[Compiled], defined: dict[str, list[Compiled]]) -> None:
        self.levels, self.objects = levels, objects
        self.suffix = "__" + "__".join(map(label, levels))
        symbols = [symbol for one in objects for symbol in one.symbols.values()]
        self.defines = {symbol.name for symbol in symbols if symbol.section}
        self.lacks = {symbol.name for symbol in symbols if symbol.name in defined} - self.defines

    def has(self, levels: Levels) -> bool:
        return set(levels) <= set(self.levels)


def resolve(
    parts: list[Part], public: set[str], common: dict[str, Levels]
) -> tuple[set[str], dict[Levels, dict[str, str]]]:
    """Return the functions that go through stubs, and the new names in each part of what crosses its border."""
    through_stubs = public.copy()
    renames: dict[Levels, dict[str, str]] = {part.levels: {} for part in parts}
    for part in parts:
        for name in part.lacks - common.keys():
            direct = next((other for other in parts if name in other.defines and other.has(part.levels)), None)
            if direct:
                renames[part.levels][name] = renames[direct.levels][name] = name + direct.suffix
            else:
                through_stubs.add(name)
    for part in parts:
        for name in part.defines & (through_stubs | {NEEDS}):
            renames[part.levels][name] = name + part.suffix
    return through_stubs, renames


def make_private(given: argparse.Namespace, part: Part, renames: dict[str, str], common: dict[str, Levels]) -> Path:
    """Join a part's objects, rename what crosses its border, and make all else local."""
    path: Path = given.output / f"part{part.suffix}"
    joined, renamed, private = (path.with_suffix(end) for end in (".joined", ".renamed", ".o"))
    run(given.ld, "-r", "--force-group-allocation", "-o", joined, *(one.path for one in part.objects))
    data = common.keys() & part.defines
    weak = [name for name in data if common[name] != part.levels]
    run(
        given.objcopy,
        *from_file("redefine-syms", path, [f"{old} {new}" for old, new in renames.items()]),
        joined,
        renamed,
    )
    kept = from_file("keep-global-symbols", path, [*data, *renames.values()])
    run(given.objcopy, *kept, *from_file("weaken-symbols", path, weak), renamed, private)
    joined.unlink()
    renamed.unlink()
    return private


def from_file(option: str, path: Path, lines: list[str]) -> list[str]:
    """Return an option of objcopy, which takes no empty file, with its values."""
    listed = path.with_suffix(f".{option}")
    listed.write_text("".join(f"{line}\n" for line in sorted(lines)))
    return [f"--{option}={listed}"] if lines else []


def stub(name: str, machine: str, offset: int) -> str:
    body = STUBS[machine].format(offset=offset)
    return f".globl {name}\n.hidden {name}\n.type {name}, %function\n{name}:\n{body}.size {name}, . - {name}\n"


def assembly(levels: list[str], parts: list[Part], names: list[str], machine: str) -> str:
    """Return the stubs, a table of functions for each level, and the list of the levels, best first."""
    stubs = [stub(name, machine, 8 * position) for position, name in enumerate(names)]
    tables, strings, listed = [], [], []
    for level in reversed(levels):
        mine = label(level)
        own = {name: name + part.suffix for part in parts if part.has((level,)) for name in part.defines}
        tables += [f"functions__{mine}:\n", *(f"    .quad {own.get(name, 0)}\n" for name in names)]
        strings.append(f'name__{mine}: .asciz "{level}"\n')
        listed.append(f"    .quad name__{mine}, {own[NEEDS]}, functions__{mine}\n")
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
            f"llamacffi_cpu_functions: .quad functions__{label(levels[0])}\n",
            '.section .note.GNU-stack, "", %progbits\n',
        ]
    )


def make(given: argparse.Namespace) -> None:
    levels = {level: [Path(path) for path in paths] for level, *paths in given.level}
    given.output.mkdir(parents=True, exist_ok=True)
    everything = compiled(given.readelf, levels)
    for one in everything:
        refuse_constructors(given.readelf, one)
    public = same_for_all({level: public_functions(everything, level) for level in levels})

    everything = shared(everything)
    defined = definers(everything)
    common = zeroed(defined)
    groups = sorted({one.levels for one in everything}, key=len, reverse=True)
    parts = [Part(group, [one for one in everything if one.levels == group], defined) for group in groups]
    names, renames = resolve(parts, public, common)
    for level in levels:
        mine = [part for part in parts if part.levels[0] == level]
        if not mine:
            raise Failure(f"the CPU level {level} was compiled like those before it, and so has no use")
        used = [part for part in mine if renames[part.levels] or common.keys() & part.defines]
        private = [make_private(given, part, renames[part.levels], common) for part in used]
        run(given.ld, "-r", "-o", given.output / f"{level}.o", *private)
        for path in private:
            path.unlink()
    machine = MACHINES.get(given.machine, given.machine)
    text = assembly(list(levels), parts, sorted(names), machine)
    (given.output / "cpu_levels.S").write_text(text, encoding="utf-8")


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
