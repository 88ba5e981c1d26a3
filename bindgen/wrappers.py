"""Let the wrappers that cffi wrote call our own function where policy.toml says `replaced_by`.

cffi writes two functions for each of C's. `_cffi_f_NAME` converts and calls; there our function gets the call's record
first. `_cffi_d_NAME` only calls: its address is what `ffi.addressof(lib, "NAME")` gives away, so foreign code may enter
it, with no record, and catches no exception; there our function is called through `direct`, which csrc/core/guard.h
has.
"""

from __future__ import annotations

import pathlib
import re

from bindgen import policy

RECORD = "&LLAMACFFI_CALL"
ARGUMENTS = r"((?:x\d+(?:, )?)*)"  # PyPy's variant, which is compiled for PyPy alone, has `*x1` for a struct


def replace(file: pathlib.Path, replacements: dict[str, policy.Rules]) -> None:
    """Rewrite the generated `file`; it ends with a sentence where cffi's text is not as expected."""
    text = file.read_text(encoding="utf-8")
    for name, rules in replacements.items():
        own = f"llamacffi::{rules.replaced_by}"
        direct = rf'  return llamacffi::direct("{name}", {rules.fails_with}, {own}, \1);'
        text = _once(rf"^  (?:return )?{name}\((.*)\);$", direct, text, name)
        text = _once(rf"\{{ (result = )?{name}\({ARGUMENTS}\); \}}$", rf"{{ \1{own}({RECORD}, \2); }}", text, name)
    text = re.sub(r"^static PyObject \*\n(?=_cffi_f_)", "static LLAMACFFI_INLINE PyObject *\n", text, flags=re.M)
    # The built-in functions get their addresses into the table of globals (csrc/core/module.cpp).
    text = re.sub(r'^(  \{ "\w+", )\(void \*\)_cffi_f_\w+', r"\1nullptr", text, flags=re.M)
    file.write_text(text.replace(", );", ");"), encoding="utf-8")


def _once(pattern: str, by: str, text: str, name: str) -> str:
    changed, count = re.subn(pattern, by, text, flags=re.M)
    if count != 1:
        raise SystemExit(
            f"bindgen/wrappers.py: cffi's text for {name} has {count} calls where 1 was expected: adapt it"
        )
    return changed
