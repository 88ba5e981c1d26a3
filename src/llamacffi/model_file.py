"""Save a model, and say in the documented way whether the file stands: engine/replaced_file.h writes it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from llamacffi._native import LlamaError, set_last_error

if TYPE_CHECKING:
    from collections.abc import Callable


def save(write: Callable[[Any, bytes], None], model: Any, fname: bytes | str | os.PathLike[str]) -> bool:
    """Write `model` to `fname` by the C function `write`; tell whether the whole file stands there."""
    try:
        write(model, os.fsencode(fname))
    except LlamaError as error:
        if isinstance(error, ValueError):  # the model is no model: the caller's mistake, not the disk's
            raise
        set_last_error(str(error))
        print(error, file=sys.stderr)
        return False
    return True
