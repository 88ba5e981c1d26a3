"""`llamacffi run` runs a program as `python` does: both run it, and what they print and end with is compared."""

from __future__ import annotations

import os
import py_compile
import sys
import zipfile
from pathlib import Path

import pytest
from engines import LLAMACFFI

from support.processes import Ended, run

SHOW = """
import os, sys
print(sys.argv, repr(sys.path[0]), __name__, __doc__, globals().get("__file__"), __package__)
print(globals().get("__annotations__"), globals().get("__cached__") is None)
print(__spec__ and __spec__.name, sys.modules["__main__"].__dict__ is globals(), sorted(globals()))
"""
PROGRAMS = {
    "show.py": SHOW,
    "raises.py": "def f():\n    raise ValueError('no')\n\nf()\n",
    "chained.py": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('later') from error\n",
    "exits.py": "import sys\nsys.exit(int(sys.argv[1]))\n",
    "complains.py": "raise SystemExit('a text')\n",
    "syntax.py": "x = (\n",
    "interrupted.py": "raise KeyboardInterrupt\n",
    "hook.py": (
        "import sys, traceback\n"
        "sys.excepthook = lambda kind, value, trace: print(kind, value, len(traceback.extract_tb(trace)))\n"
        "raise ValueError('seen')\n"
    ),
    "at_exit.py": "import atexit\natexit.register(lambda: print('bye', __name__))\nprint('first')\n1 / 0\n",
    "thread.py": "import threading\nthreading.Timer(0.1, lambda: print(__name__)).start()\n",
    "warns.py": "import warnings\nwarnings.warn('careful', DeprecationWarning)\n",
    "cookie.py": "# coding: latin-1\nprint('\xe9')\n",
    "reads.py": "import sys\nprint(sys.stdin.read())\n",
    "pickles.py": "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))))\n",
    "neighbour.py": "import exits_not\nprint(exits_not.HERE)\n",
    "exits_not.py": "HERE = True\n",
    "folder/__main__.py": SHOW,
    "package/__init__.py": "print('the package')\n",
    "package/__main__.py": SHOW,
    "package/part.py": SHOW,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, text in PROGRAMS.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="latin-1")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "link.py").symlink_to(folder / "show.py")
    with zipfile.ZipFile(folder / "program.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    py_compile.compile(str(folder / "show.py"), cfile=str(folder / "compiled.pyc"))
    return folder


def both(folder: Path, *arguments: str, **options: str) -> list[Ended]:
    ways = [(sys.executable,), (LLAMACFFI, "run")]
    env = {**os.environ, **{name: value for name, value in options.items() if name.isupper()}}
    return [run(*way, *arguments, cwd=folder, env=env, input=options.get("input")) for way in ways]


COMMANDS = [
    ["show.py"],
    ["show.py", "-m", "--", "-x", "--help"],
    ["elsewhere/../show.py", "a"],
    ["elsewhere/link.py"],
    ["-m", "show", "a", "-b"],
    ["-m", "package"],
    ["-m", "package.part", "a"],
    ["folder", "a"],
    ["program.zip", "a"],
    ["compiled.pyc"],
    ["raises.py"],
    ["-m", "raises"],
    ["chained.py"],
    ["exits.py", "0"],
    ["exits.py", "7"],
    ["exits.py", "not a number"],
    ["complains.py"],
    ["syntax.py"],
    ["interrupted.py"],
    ["hook.py"],
    ["at_exit.py"],
    ["thread.py"],
    ["warns.py"],
    ["cookie.py"],
    ["pickles.py"],
    ["neighbour.py"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_program_runs_as_python_runs_it(folder: Path, command: list[str]) -> None:
    theirs, ours = both(folder, *command)
    assert ours.stdout == theirs.stdout
    assert without_runpy(ours.stderr) == without_runpy(theirs.stderr)
    assert ours.returncode == theirs.returncode


def without_runpy(text: str) -> str:
    """Drop the frames of runpy, which `python -m` shows and `llamacffi run -m` hides."""
    return "".join(line for line in text.splitlines(keepends=True) if "<frozen runpy>" not in line)


def test_the_programs_do_what_they_are_for(folder: Path) -> None:
    """Else two equal failures would be taken for success."""
    assert both(folder, "exits.py", "7")[1].returncode == 7
    assert both(folder, "raises.py")[1].stderr.splitlines()[-1] == "ValueError: no"
    assert both(folder, "neighbour.py")[1].stdout == "True\n"


def test_a_program_comes_from_standard_input(folder: Path) -> None:
    theirs, ours = both(folder, "-", "a", "-b", input=SHOW + "1 / 0\n")
    assert ours.stdout == theirs.stdout
    assert (ours.stderr, ours.returncode) == (theirs.stderr, theirs.returncode)
    assert "ZeroDivisionError" in ours.stderr


def test_a_program_reads_standard_input(folder: Path) -> None:
    assert [ended.stdout for ended in both(folder, "reads.py", input="some text")] == ["some text\n"] * 2


def test_the_safe_path_stays_safe(folder: Path) -> None:
    theirs, ours = both(folder, "neighbour.py", PYTHONSAFEPATH="1")
    assert "No module named 'exits_not'" in ours.stderr
    assert ours.returncode == theirs.returncode == 1


def test_a_missing_file_or_module_is_said_as_python_says_it(folder: Path) -> None:
    for command, status in ((["missing.py"], 2), (["-m", "missing"], 1)):
        theirs, ours = both(folder, *command)
        assert ours.returncode == theirs.returncode == status
        assert ours.stderr.partition(": ")[2] == theirs.stderr.partition(": ")[2]


@pytest.mark.parametrize("command", [[], ["-m"], ["-x", "show.py"]], ids=str)
def test_without_a_program_the_usage_is_shown(folder: Path, command: list[str]) -> None:
    ended = run(LLAMACFFI, "run", *command, cwd=folder)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: llamacffi run [-m MODULE | SCRIPT | -]")


def test_the_help_names_run() -> None:
    assert "Run a program" in run(LLAMACFFI, "--help").stdout
    assert run(LLAMACFFI, "run", "--help").stdout.startswith("usage: llamacffi run")


def test_the_program_finds_the_replacement(folder: Path) -> None:
    code = "import llama_cpp.llama_cpp as low_level\nprint(low_level.__name__)\n"
    assert run(LLAMACFFI, "run", "-", input=code).stdout == "llamacffi.llama_cpp\n"
    ended = run(sys.executable, "-m", "llamacffi", "run", "-", input=code)
    assert ended.stdout == "llamacffi.llama_cpp\n", ended.stderr
