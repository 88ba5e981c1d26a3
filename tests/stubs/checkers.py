"""Run type checkers on right_calls.py and wrong_calls.py, and compare what they find with what these say.

`nox -s lint` runs this file, which generates the stubs from the headers for itself; test_stubs.py has those of the
build.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CALLS = ("right_calls.py", "wrong_calls.py")
STUBS = ("llama_cpp.pyi", "mtmd_cpp.pyi", "_llama.pyi")

Errors = list[tuple[str, int, str]]  # file, line, the checker's name for it


def lay_out(stubs: Path, folder: Path) -> Path:
    """Make a folder that has the package as a wheel has it, stubs beside modules, and the calls."""
    package = folder / "llamacffi"
    shutil.copytree(ROOT / "src" / "llamacffi", package, ignore=shutil.ignore_patterns("_llama*", "include", "*.pyc"))
    for name in STUBS:
        shutil.copyfile(stubs / name, package / name)
    for name in CALLS:
        shutil.copyfile(HERE / name, folder / name)
    return folder


def expected(checker: str) -> Errors:
    """Read the comments of the calls; pyright's names of errors begin with `report`."""
    found = []
    for name in CALLS:
        for number, line in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), 1):
            codes = line.partition("# wrong: ")[2].split()
            found += [(name, number, code) for code in codes if code.startswith("report") == (checker == "pyright")]
    return sorted(found)


def mypy(folder: Path) -> Errors:
    """Return what `mypy --strict` finds, each code once a line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--enable-error-code", "deprecated", "--output", "json"]
    done = subprocess.run([*command, *CALLS], cwd=folder, capture_output=True, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told, done.stdout + done.stderr
    return sorted({(one["file"], one["line"], one["code"]) for one in told if one["file"] in CALLS and one["code"]})


def pyright(folder: Path) -> Errors:
    """Return what pyright finds in its strict mode."""
    rules = {"typeCheckingMode": "strict", "reportDeprecated": "error", "reportUnknownMemberType": "none"}
    (folder / "pyrightconfig.json").write_text(json.dumps(rules), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *CALLS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    told = json.loads(done.stdout)["generalDiagnostics"]
    return sorted({(Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["rule"]) for one in told})


def differences(wanted: Errors, found: Errors) -> list[str]:
    missing = [f"{name}:{line}: {code} is expected, and not found" for name, line, code in {*wanted} - {*found}]
    return sorted(missing + [f"{name}:{line}: {code} is found" for name, line, code in {*found} - {*wanted}])


def generate(folder: Path) -> Path:
    """Write the stubs as the build does, which needs the headers and no compiler."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from bindgen import policy, stubs, trim_header
    from support.checkout import source

    for name, text in stubs.stubs(trim_header.trim(source()), policy.load()).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as stubs, tempfile.TemporaryDirectory() as calls:
        folder = lay_out(generate(Path(stubs)), Path(calls))
        told = differences(expected("pyright"), pyright(folder)) + differences(expected("mypy"), mypy(folder))
    if told:
        sys.exit("\n".join(told))


if __name__ == "__main__":
    main()
