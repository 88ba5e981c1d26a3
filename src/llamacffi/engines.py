"""Which extension is `llamacffi._llama`: this package's own, or an add-on's, whose backend has a driver here.

`llamacffi-vulkan` and `llamacffi-cuda13` hold nothing but the same extension, built with one backend more
(add_ons/setup.py). `_native` loads the best that can be loaded, in the place of the package's own, before anything
else of it is imported; `build_info()` tells why another one was not taken.
"""

from __future__ import annotations

import os
import sys

from llamacffi._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

OWN = "cpu"
ADD_ONS = ("cuda13", "vulkan")  # best first
EXTENSION = "llamacffi._llama"

refused: dict[str, str] = {}
"""Why each engine that was looked for was not taken."""


def take_best() -> None:
    """Load the extension of the best add-on, or of the one that LLAMACFFI_ENGINE names.

    Where nothing is loaded, the next import of `llamacffi._llama` finds the package's own.

    Raises:
        ImportError: LLAMACFFI_ENGINE names what there is not, what is not installed, or what cannot be loaded; or
            another interpreter of this process has loaded an add-on.
    """
    forget()
    if named := os.environ.get("LLAMACFFI_ENGINE"):
        take_named(named)
    else:
        any(map(take, ADD_ONS))


def forget() -> None:
    """Have the next import look for an extension, not find the one that an import left which was refused."""
    sys.modules.pop(EXTENSION, None)


def take_named(name: str) -> None:
    if name not in (*ADD_ONS, OWN):
        raise ImportError(f"LLAMACFFI_ENGINE should be one of {', '.join((*ADD_ONS, OWN))}, not {name!r}")
    if name != OWN and not take(name):
        raise ImportError(f"LLAMACFFI_ENGINE names {name}, which was not taken: {refused[name]}")
    refused.update(dict.fromkeys({*ADD_ONS} - {name}, f"LLAMACFFI_ENGINE names {name}"))


def take(name: str) -> bool:
    """Load the extension of an add-on, unless there is a reason not to, which is kept.

    Raises:
        ImportError: Another interpreter of this process has loaded it; a second engine beside it is of no use.
    """
    try:
        module = load(name)
    except ImportError as error:
        if error.name == __package__:
            raise
        refused[name] = str(error)
        return False
    sys.modules[EXTENSION] = module
    sys.modules["llamacffi"]._llama = module  # type: ignore[attr-defined]  # PyCapsule_Import looks for it there
    return True


def load(name: str) -> ModuleType:
    """Load the extension of an add-on under the name of the package's own."""
    try:
        package = __import__(f"llamacffi_{name}")
    except ModuleNotFoundError:
        raise ImportError(f"llamacffi-{name} is not installed: pip install 'llamacffi[{name}]'") from None
    version = getattr(package, "__version__", None)
    if version != __version__:
        raise ImportError(
            f"llamacffi-{name} has the version {version}, and llamacffi {__version__}: "
            f"pip install 'llamacffi[{name}]=={__version__}'"
        )
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec(EXTENSION, package.__path__)
    if spec is None or spec.loader is None:
        raise ImportError(f"llamacffi-{name} has no extension for this Python: install its wheel again")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
