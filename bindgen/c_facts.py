"""Ask the compiler what the headers mean: values and the layouts of structs, as a C program prints them.

The program is linked with nothing, so headers can be asked before anything of llama.cpp is built.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping

from bindgen import trim_header

Facts = dict[str, tuple[int, ...]]


def values(source: pathlib.Path, defines: Iterable[str], others: Iterable[str]) -> Facts:
    """Return the values of integer macros, those that hold on this platform, and of enumerators and constants."""
    show = '  printf("{0}\\t%lld\\n", (long long) ({0}));'.format
    return _printed(source, [*(f"#ifdef {name}\n{show(name)}\n#endif" for name in defines), *map(show, others)])


def layouts(source: pathlib.Path, structs: Mapping[str, Iterable[str]]) -> Facts:
    """Return the size of each struct, and offset and size of each field under `STRUCT.FIELD`.

    Args:
        source: the llama.cpp checkout.
        structs: the fields by struct, which is spelled as in C.
    """
    lines = []
    for struct, names in structs.items():
        lines.append(f'  printf("{struct}\\t%zu\\n", sizeof({struct}));')
        place = "offsetof({0}, {1}), sizeof((({0} *) 0)->{1})".format
        lines += [f'  printf("{struct}.{name}\\t%zu\\t%zu\\n", {place(struct, name)});' for name in names]
    return _printed(source, lines)


def _printed(source: pathlib.Path, statements: list[str]) -> Facts:
    """Run statements as a C program; each line that it prints is a name and integers."""
    includes = "".join(f'#include "{name}"\n' for name in trim_header.HEADERS)
    body = "\n".join(statements)
    code = f"#include <stddef.h>\n#include <stdio.h>\n{includes}int main(void) {{\n{body}\nreturn 0;\n}}\n"
    folders = [f"-I{source / folder}" for folder in trim_header.FOLDERS]
    with tempfile.TemporaryDirectory() as scratch:
        program = pathlib.Path(scratch, "program")
        compiler = [*shlex.split(os.environ.get("CC", "cc")), "-w", *folders]
        subprocess.run([*compiler, "-x", "c", "-", "-o", program], input=code, text=True, check=True)
        printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    lines = (line.split("\t") for line in printed.splitlines())
    return {name: tuple(map(int, numbers)) for name, *numbers in lines}
