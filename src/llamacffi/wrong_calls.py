"""What is wrong with a call whose arguments do not fit the function's parameters, in Python's own words.

Imported by the extension when there is such a call (csrc/core/by_name.cpp).
"""

from __future__ import annotations

from llamacffi.near_names import suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def explain(function: str, parameters: Sequence[str], count: int, names: Sequence[str]) -> str:
    """Return the message of the TypeError for a call with `count` arguments by position, and others by `names`."""
    for name in names:
        if name not in parameters:
            return f"{function}() got an unexpected keyword argument {name!r}{suggestion(name, parameters)}"
    for number, name in enumerate(names):
        if name in parameters[:count] or name in names[:number]:
            return f"{function}() got multiple values for argument {name!r}"
    if count > len(parameters):
        were = "was" if count == 1 else "were"
        return f"{function}() takes {_counted(len(parameters), 'positional argument')} but {count} {were} given"
    missing = [repr(name) for name in parameters[count:] if name not in names]
    return f"{function}() missing {_counted(len(missing), 'required positional argument')}: {_listed(missing)}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    """Join names as Python does: 'a', 'a' and 'b', 'a', 'b', and 'c'."""
    *first, last = names
    if not first:
        return last
    return f"{', '.join(first)}{',' if len(first) > 1 else ''} and {last}"
