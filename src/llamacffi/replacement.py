"""Put this package in llama-cpp-python's place: what `import llama_cpp.llama_cpp` finds, here and in spawned processes.

A finder in front of `sys.meta_path` answers for three kinds of names: the low-level modules are this package's; the
package is llama-cpp-python's own where there is one, and one with the low-level names otherwise; and the modules of
that package which load its shared libraries by themselves are refused, since a second engine in the process would be
given the first one's handles.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

from llamacffi import llama_cpp, old_code
from llamacffi._native import functions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

PACKAGE = "llama_cpp"
LOW_LEVEL = "llama_cpp.llama_cpp"

# Modules of llama-cpp-python that load a shared library of it: those that are here, by their name in this package, and
# the others, with what they load.
OWN = {LOW_LEVEL: "llama_cpp", "llama_cpp._ggml": "_ggml", "llama_cpp.mtmd_cpp": "mtmd_cpp"}
FOREIGN = {
    "llama_cpp.llama_cpp_ext": "symbols of libllama that llama.h does not have",
    "llama_cpp.llava_cpp": "libllava",
}


class _Finder(MetaPathFinder):
    """Find the low-level modules here, wherever the package around them comes from."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: object = None) -> ModuleSpec | None:
        if name in OWN:
            return ModuleSpec(name, _LowLevel(), origin=__package__)
        if name == PACKAGE:
            return None if _is_installed() else ModuleSpec(name, _NoPackage(), is_package=True)
        if name in FOREIGN:
            raise ImportError(
                f"{name} loads {FOREIGN[name]} of llama-cpp-python, whose engine knows nothing of llamacffi's models: "
                "it cannot be used in a process in which llamacffi stands for llama_cpp",
                name=name,
            )
        return None


class _LowLevel(Loader):
    """Give a module of this package; the import system then binds it to the other, as it does with what it loads."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(f"{__package__}.{OWN[spec.name]}")
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own  # the import system has put the other name's there


class _NoPackage(Loader):
    """Stand for the package where llama-cpp-python is not installed."""

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "Stands for llama-cpp-python's package, which is not installed; made by llamacffi."
        module.__file__ = llama_cpp.__file__
        names = {name: value for name, value in vars(llama_cpp).items() if not name.startswith("_")}
        module.__dict__.update(names, __getattr__=_bring, __dir__=lambda: dir(llama_cpp))


def _bring(name: str) -> Any:
    """Give the package what the low-level module brings when it is asked for, and the version of llama-cpp-python."""
    if name == "__version__":
        from llamacffi import adopt

        return adopt.pin()["version"]
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}", name=name)
    try:
        return getattr(llama_cpp, name)
    except AttributeError as error:
        hint = "llama-cpp-python is not installed, and llamacffi has its low-level names: `llamacffi adopt` installs it"
        raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}: {hint}", name=name) from error


def give_attributes() -> None:
    """Put functions with attributes (`restype`, anything) in the place of built-in ones, which are quicker to call.

    Code for ctypes reads and sets them; whoever imports `llamacffi.llama_cpp` for itself has the quicker ones.
    """
    names = vars(llama_cpp)
    names.update({name: own for name, own in old_code.objects().items() if names.get(name) is functions[name]})


def _is_installed() -> bool:
    """Tell whether another finder knows the package."""
    others = (finder for finder in sys.meta_path if not isinstance(finder, _Finder))
    return any(finder.find_spec(PACKAGE, None) for finder in others)


def install() -> None:
    """Do what `llamacffi.install_as_llama_cpp` says."""
    installed = sys.modules.get(LOW_LEVEL)
    if installed is not None and installed is not llama_cpp:
        raise ImportError(
            "llama_cpp.llama_cpp is already imported from llama-cpp-python: call install_as_llama_cpp() before that"
        )
    give_attributes()
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        _install_in_spawned_processes()
    if not _is_installed():
        import_module(LOW_LEVEL)  # costs nothing: both are made here


# ---------------------------------------------------------------- multiprocessing

FORK_SERVER = "ignore"  # the name for which multiprocessing.forkserver asks for the data


class _Stowaway:
    """Install the replacement in a new process, when what prepares it there is unpickled: before its main module."""

    def __reduce__(self) -> tuple[Any, ...]:
        return install, ()


def _install_in_spawned_processes() -> None:
    """Let the data that prepares a spawned process carry a stowaway; the process ignores what it does not know.

    A spawned process imports the main module again, and its imports of llama_cpp must find what they found here. This
    is how coverage.py follows such processes; multiprocessing has no hook for it.

    A fork server gets none of the data but paths, and from CPython 3.14 on imports the main module by its path, where
    nothing has installed the replacement: it is given none, and each process that it forks imports the main module.
    """
    from multiprocessing import spawn

    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = {**prepare(name), "llamacffi": _Stowaway()}
        if name == FORK_SERVER:
            data.pop("init_main_from_path", None)
        return data

    spawn.get_preparation_data = get_preparation_data
