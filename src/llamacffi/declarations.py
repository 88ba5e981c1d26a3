"""What llama.cpp's headers say of a struct or a callback, for `help()`.

It is read when somebody asks, out of the headers that the package has for C code (`llamacffi.get_include()`).
"""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

COMMENT = r"(?:^[ \t]*//.*\n)*"
STRUCT = rf"{COMMENT}^([ \t]*)(?:typedef )?struct {{0}} {{{{\n(?:.*\n)*?\1}}}}.*;.*"
UNNAMED = rf"{COMMENT}^[ \t]*typedef struct {{{{[^{{{{}}}}]*}}}} {{0}};.*"
CALLBACK = rf"{COMMENT}^[ \t]*typedef [^;{{{{}}}}]*\( ?\* ?{{0}}\)[^;]*;.*"


class Declaration:
    """A type's `__doc__`: its declaration in C, with the comments above and inside of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: object = None) -> str | None:
        return of(self._name)


@functools.cache
def of(name: str) -> str | None:
    """Return how the headers declare a type, or None where they are not to be found or have no such type."""
    import re
    import textwrap

    patterns = [re.compile(pattern.format(name), re.M) for pattern in (STRUCT, UNNAMED, CALLBACK)]
    for file in sorted(_headers()):
        text = file.read_text(encoding="utf-8")
        for found in filter(None, (pattern.search(text) for pattern in patterns)):
            return textwrap.dedent(found[0])
    return None


def _headers() -> list[Path]:
    from pathlib import Path

    return [*Path(__file__).with_name("include").glob("*.h")]
