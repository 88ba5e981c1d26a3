"""`llamacffi run`: run a program as `python` would, with this package in llama-cpp-python's place.

A program finds its `sys.argv`, `sys.path[0]` and `__main__` as `python` makes them, and its exceptions go to
`sys.excepthook` without the frames that started it.
"""

from __future__ import annotations

import importlib.machinery
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType, TracebackType

import llamacffi

USAGE = "usage: llamacffi run [-m MODULE | SCRIPT | -] [ARGUMENT ...]"
DESCRIPTION = """
Run a Python program with llamacffi in llama-cpp-python's place: `import llama_cpp.llama_cpp` finds llamacffi.

  -m MODULE    run a module, as python -m does
  SCRIPT       run a file, or a folder or zip file with a __main__.py
  -            run what standard input has"""


# What `__main__` has from the start, until CPython left it out: annotations are made when they are asked for.
ANNOTATIONS: dict[str, object] = {"__annotations__": {}} if sys.version_info < (3, 14) else {}
CACHED = {"__cached__": None} if sys.version_info < (3, 15) else {}


class CommandError(Exception):
    """There is no program to run; the text is the sentence for the user."""


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments after `llamacffi run` name, and return the exit status of a program that ends itself."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE + "\n" + DESCRIPTION)
        return 0
    try:
        start = _program(arguments)
    except CommandError as error:
        print(f"{error}", file=sys.stderr)
        return 2
    _become_main()
    llamacffi.install_as_llama_cpp()
    try:
        start()
    except SystemExit:
        raise
    except BaseException as error:
        _hide_frames(error)
        raise
    return 0


def _program(arguments: Sequence[str]) -> Callable[[], object]:
    """Set `sys.argv` and `sys.path[0]` for the program, and return what runs it."""
    if not arguments:
        raise CommandError(f"{USAGE}\nllamacffi run: give a program to run")
    first, *rest = arguments
    if first == "-m":
        if not rest:
            raise CommandError(f"{USAGE}\nllamacffi run: -m needs the name of a module")
        return _module(rest[0], rest[1:])
    if first.startswith("-") and first != "-":
        raise CommandError(f"{USAGE}\nllamacffi run: unknown option {first}; a file of that name is ./{first}")
    sys.argv[:] = [first, *rest]
    if first == "-":
        return _standard_input()
    return _archive(first) if _is_archive(first) else _file(first)


def _module(name: str, rest: Sequence[str]) -> Callable[[], object]:
    sys.argv[:] = ["-m", *rest]  # runpy puts the file's name there when it has found it
    _set_first_path(os.getcwd())  # noqa: PTH109  (sys.path has strings)
    return lambda: runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _standard_input() -> Callable[[], object]:
    _set_first_path("")

    def start() -> None:
        sys.modules["__main__"].__dict__.update(__file__="<stdin>", **CACHED)
        _execute(compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True))

    return start


def _archive(path: str) -> Callable[[], object]:
    _set_first_path(_full(path))
    return lambda: runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]


def _is_archive(path: str) -> bool:
    """Tell whether `path` is a folder or a zip file, in which Python can import."""
    return pkgutil.get_importer(path) is not None


def _file(path: str) -> Callable[[], object]:
    full = _full(path)
    try:
        with open(full, "rb") as file:  # noqa: PTH123
            compiled = pkgutil.read_code(file)
            file.seek(0)
            source = file.read()
    except OSError as error:
        raise CommandError(f"llamacffi run: can't open file {full!r}: [Errno {error.errno}] {error.strerror}") from None
    _set_first_path(os.path.dirname(os.path.realpath(path)))  # noqa: PTH120

    def start() -> None:
        sys.modules["__main__"].__dict__.update(
            __file__=full, __loader__=importlib.machinery.SourceFileLoader("__main__", full), **CACHED
        )
        _execute(compiled or compile(source, full, "exec", dont_inherit=True))

    return start


def _full(path: str) -> str:
    """Make a path absolute as Python does: links and `..` stay in it."""
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118  (Path drops `.`)


def _set_first_path(folder: str) -> None:
    """Replace what Python put there for the console script or `-m llamacffi`; in safe mode it put nothing there."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _become_main() -> None:
    """Put a fresh `__main__` in the place of the console script's, which lives on while it runs."""
    main = ModuleType("__main__")
    main.__dict__.update(ANNOTATIONS, __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = main


def _execute(code: CodeType) -> None:
    exec(code, sys.modules["__main__"].__dict__)


# ---------------------------------------------------------------- tracebacks


def _hide_frames(error: BaseException) -> None:
    """Let the hook that prints this exception, whichever the program has set, see the program's own frames only."""
    hook = sys.excepthook
    own = _without(error.__traceback__)

    def without_frames(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if value is error:
            trace = own
            value.__traceback__ = own
        hook(kind, value, trace)

    sys.excepthook = without_frames


def _without(trace: TracebackType | None) -> TracebackType | None:
    """Drop the first frames, as long as they are of this file or of runpy."""
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
        trace = trace.tb_next
    return trace
