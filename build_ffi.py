"""The cffi builder: read the headers, judge the policy, call `cdef` and `set_source`, write the extension's source.

Run by csrc/CMakeLists.txt, after the static libraries stand: a function that a header declares and no library
defines would link and then fail at import, so it is dropped here, and named.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import cffi

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from bindgen import (  # noqa: E402  (found beside this file, from any working directory)
    c_api,
    function_table,
    policy,
    stubs,
    trim_header,
    wrappers,
)

PREAMBLE = '#include "core/border.h"\n'


def defined_symbols(nm: str, archives: list[str]) -> set[str]:
    """Return the names that the static libraries define, without the underscore that macOS puts before them."""
    listing = subprocess.run([nm, "-g", *archives], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^[0-9a-f]+ [A-TV-Z] _?(\w+)$", listing, re.M))


def texts(header: trim_header.Header, rules: policy.Policy) -> dict[str, str]:
    """Return what is generated, by the name of its file."""
    tables = function_table.Tables(header, rules)
    return {
        "llama_cdef.h": header.cdef(),
        "function_table.h": tables.text(),
        "c_api_fingerprint.h": c_api.fingerprint_line(header),
        "llamacffi.h": c_api.text(header),
        "formulas.cpp": tables.formula_text(),
        "function_names.h": function_table.names(header),
        **stubs.stubs(header, rules),
    }


def wrapper_text(header: trim_header.Header, rules: policy.Policy, scratch: pathlib.Path) -> str:
    """Return `_llama.cpp`: what cffi writes, with our functions in the place of C's."""
    builder = cffi.FFI()
    builder.cdef(header.cdef())
    builder.set_source("llamacffi._llama", PREAMBLE, source_extension=".cpp")
    builder.emit_c_code(str(scratch / "_llama.cpp"))
    wrappers.replace(scratch / "_llama.cpp", function_table.replacements(header, rules))
    return (scratch / "_llama.cpp").read_text(encoding="utf-8")


def write(header: trim_header.Header, rules: policy.Policy, output: pathlib.Path) -> None:
    """Write what is generated; a file that stays the same stays as it is, so that nothing is compiled again for it."""
    with tempfile.TemporaryDirectory() as scratch:
        generated = {**texts(header, rules), "_llama.cpp": wrapper_text(header, rules, pathlib.Path(scratch))}
    for name, text in generated.items():
        file = output / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=pathlib.Path, required=True, help="llama.cpp checkout")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the generated files")
    parser.add_argument("--nm", help="program that lists the symbols of ARCHIVES; without it none is dropped")
    parser.add_argument("archives", nargs="*", metavar="ARCHIVES", help="the static libraries")
    given = parser.parse_args()
    header = trim_header.trim(given.source)
    if given.nm:
        missing = {node.name for node in header.functions} - defined_symbols(given.nm, given.archives)
        header = header.without(missing, "declared in the header, defined in no library")
    rules = policy.load()
    policy.judge(rules, header)
    write(header, rules, given.output)
    for name, reason in sorted(header.excluded.items()):
        print(f"left out: {name}: {reason}")


if __name__ == "__main__":
    main()
