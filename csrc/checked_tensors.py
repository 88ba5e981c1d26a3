"""Copy llama.cpp's tools/mtmd into the build, with pointers to tensors as objects that are asked before they are used.

Run by CMakeLists.txt. What a projector's file lacks is NULL there, and what it says wrongly may be 0, and mtmd computes
with them all the same. In the copies, with the classes of engine/checked_tensor.h,

- `ggml_tensor *` is an object that throws where a NULL would be followed or handed to ggml,
- a list of the model's throws where an index is beyond it,
- `a / b` is `a / llamacffi::checked * b`, which throws where a whole number would be divided by 0,
- the contexts that loading makes are freed also where it fails behind them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

POINTERS = (r"\b(?:struct )?ggml_tensor ?\* ?", "llamacffi::tensor ")
OWNERS = (r"\b(?:struct )?clip_ctx \* (ctx_\w+)(?: = nullptr)?;", r"llamacffi::owned_clip \1;")
AUTOS = (r"\bauto \* ?", "auto ")  # of what is no pointer any more
LISTS = (r"\bstd::vector<", "llamacffi::list<")
CODE = re.compile(  # what holds no code, or a division by what is no literal
    r"""//[^\n]*|/\*.*?\*/|(["'])(?:\\.|(?!\1)[^\\\n])*\1|^[ \t]*\#[^\n]*|(?P<sign>[/%]=?)(?![=\s]*\d)""", re.M | re.S
)
PUBLIC = ("mtmd.h", "mtmd-helper.h", "clip.h")  # others include upstream's
MAKES_TENSOR = r"^\s*GGML_API struct ggml_tensor \* *(ggml_\w+)\("


def copies(mtmd: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files as they are compiled here, with their names below `mtmd`."""
    for file in (*mtmd.glob("*.cpp"), *mtmd.glob("*.h"), *mtmd.glob("models/*")):
        text = file.read_text(encoding="utf-8")
        if file.name not in PUBLIC:
            for change in (POINTERS, AUTOS, OWNERS, *([LISTS] if file.name == "clip-model.h" else [])):
                text = re.sub(*change, text)
            text = CODE.sub(division, text)
        yield file.relative_to(mtmd), text


def division(found: re.Match[str]) -> str:
    sign = found["sign"]
    return f"{sign} llamacffi::checked {'<<' if '=' in sign else '*'}" if sign else found[0]


def macros(header: str) -> str:
    """Give what each function of ggml.h returns as an object too; a macro, since it is C that returns it."""
    names = re.findall(MAKES_TENSOR, header, re.M)
    return "".join(f"#define {name}(...) llamacffi::made({name}(__VA_ARGS__))\n" for name in names)


def write(file: Path, text: str) -> None:
    """A file that stays the same stays as it is, so that nothing is compiled again for it."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def main(source: Path, target: Path) -> None:
    for name, text in copies(source / "tools" / "mtmd"):
        write(target / name, text)
    write(target / "made_tensors.h", macros((source / "ggml" / "include" / "ggml.h").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
