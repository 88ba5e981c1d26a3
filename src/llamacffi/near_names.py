"""Which known name is nearest to one that is not known: what messages about a wrong name end with."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that proposes the nearest name, or nothing where none is near."""
    from difflib import get_close_matches  # on demand: it costs a millisecond

    near = get_close_matches(name, known, 1)
    return f". Did you mean {near[0]!r}?" if near else ""


class UnknownName(AttributeError):
    """A module has no such name. The nearest is looked for when the message is read: `hasattr` stays quick."""

    def __init__(self, text: str, name: str, module: object) -> None:
        super().__init__(text, name=name)
        self._name, self._module = name, module

    def __str__(self) -> str:
        return super().__str__() + suggestion(self._name, dir(self._module))
