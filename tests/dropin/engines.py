"""Run a program on llama-cpp-python's package: over llamacffi, or over ctypes, as it does by itself.

The package is the archive's own Python files, unmodified. Both ways end in the same compiled engine: ctypes loads a
shared library that is linked from the static libraries of the extension. So on any CPU both round alike, and what they
give can be compared to the last bit.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from support.checkout import load_fetch
from support.processes import Ended, output_of, run

HERE = Path(__file__).resolve().parent
SCENARIOS = HERE / "scenarios.py"
LLAMACFFI = Path(sysconfig.get_path("scripts")) / "llamacffi"


def package() -> Path:
    """Return the folder in which the archive's `llama_cpp` is."""
    return Path(load_fetch().extract("llama_cpp/*"))


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment in which what is in `folder` is installed."""
    return {**os.environ, "PYTHONPATH": str(folder), **more}


def run_ours(*arguments: str | Path, **options: Any) -> Ended:
    """Run a program by `llamacffi run`, with the archive's package installed."""
    return run(LLAMACFFI, "run", *arguments, env=environment(package()), **options)


def run_theirs(peer: Path, *arguments: str | Path, **options: Any) -> Ended:
    """Run a program on the archive's package, which loads the shared libraries of a folder with ctypes."""
    libraries = {"LLAMA_CPP_LIB_PATH": str(peer), "MTMD_CPP_LIB": str(peer)}
    return run(sys.executable, *arguments, env=environment(package(), **libraries), **options)


def fresh_python(folder: Path) -> Path:
    """Make an environment, and return its Python: in it packages can be installed, and all of this one's are there."""
    output_of(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    site = output_of(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    outer = sysconfig.get_path("purelib")
    Path(site, "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    return python


def facts(ended: Ended) -> dict[str, Any]:
    """Read what scenarios.py printed, as far as it came."""
    told = (json.loads(line) for line in ended.stdout.splitlines())
    return {line["scenario"]: line["facts"] for line in told}
