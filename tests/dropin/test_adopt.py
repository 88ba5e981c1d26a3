"""`llamacffi adopt` installs llama-cpp-python over this engine.

It is tried in a fresh environment, in which the packages of this one are there too.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from engines import fresh_python

from support.checkout import load_fetch
from support.processes import Ended, output_of, run

PIN = load_fetch().pin()
NAME = f"{PIN['package']} {PIN['version']}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel") / "into"
    return Path(output_of(sys.executable, "-m", "llamacffi", "adopt", "--into", folder).strip())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_python(tmp_path_factory.mktemp("environment"))


def adopt(python: Path, *options: str, **more: object) -> Ended:
    return run(python, "-m", "llamacffi", "adopt", *options, stdin=subprocess.DEVNULL, **more)


@pytest.fixture(scope="module")
def adopted(fresh: Path) -> Path:
    ended = adopt(fresh, "--yes")
    assert (ended.returncode, ended.stdout) == (
        0,
        f"{NAME} is installed, with llamacffi's engine; `llamacffi adopt --undo` removes it\n",
    ), ended.stderr
    return fresh


# ---------------------------------------------------------------- the wheel


def test_the_wheel_holds_the_archive_s_files_but_for_those_that_load_a_library(wheel: Path, tmp_path: Path) -> None:
    fetch = load_fetch()
    package = (
        tmp_path / "archive"
    )  # of its own: programs of other tests import from the cache's, and leave bytecode there
    fetch.unpack(fetch.pin(), "", ("llama_cpp/*",), package)
    theirs = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    replaced = {f"llama_cpp/{name}.py" for name in ("llama_cpp", "_ggml", "llama_cpp_ext", "llava_cpp", "mtmd_cpp")}
    with zipfile.ZipFile(wheel) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    same = {name for name in theirs if files.get(name) == (package / name).read_bytes()}
    assert theirs - same == replaced & theirs
    rest = files.keys() - theirs - replaced
    assert {name.partition("/")[2] for name in rest} == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE.md"}


def test_its_record_is_true(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        record = next(name for name in packed.namelist() if name.endswith("/RECORD"))
        rows = list(csv.reader(io.TextIOWrapper(packed.open(record))))
        for name, digest, size in rows:
            data = packed.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (("", "") if name == record else (f"sha256={expected}", str(len(data))))
        assert [row[0] for row in rows] == packed.namelist()


def test_the_same_archive_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    again = Path(output_of(sys.executable, "-m", "llamacffi", "adopt", "--into", tmp_path).strip())
    assert again.read_bytes() == wheel.read_bytes()


# ---------------------------------------------------------------- what is installed

COMPLETE = """
import sys
from llama_cpp import Llama
import llama_cpp.llama_cpp, llamacffi.llama_cpp
assert llama_cpp.llama_cpp is llamacffi.llama_cpp
assert llama_cpp.llama_decode is llamacffi.llama_cpp.llama_decode
llama = Llama(sys.argv[1], n_ctx=256, verbose=False)
print(llama.create_completion("The capital of France is", max_tokens=6, temperature=0)["choices"][0]["text"])
"""


def test_the_high_level_package_runs_without_a_line_of_ours(adopted: Path, model_path: Path) -> None:
    assert " Paris" in output_of(adopted, "-c", COMPLETE, model_path)


def test_pip_sees_the_requirement_as_met(adopted: Path) -> None:
    dry = output_of(adopted, "-m", "pip", "install", "--dry-run", "--no-index", f"{PIN['package']}=={PIN['version']}")
    assert "Would install" not in dry
    shown = output_of(adopted, "-m", "pip", "show", PIN["package"])
    assert f"Version: {PIN['version']}" in shown
    assert "llamacffi" in next(line for line in shown.splitlines() if line.startswith("Requires: "))


def test_what_loads_a_library_is_refused_with_a_sentence(adopted: Path) -> None:
    ended = run(adopted, "-c", "import llama_cpp.llava_cpp")
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: llama_cpp.llava_cpp loads libllava of llama-cpp-python, "
        "and this one, made by `llamacffi adopt`, has none"
    )


def test_it_is_removed_again(adopted: Path) -> None:
    ended = adopt(adopted, "--undo", "--yes")
    assert (ended.returncode, ended.stdout) == (0, f"{NAME} is removed\n"), ended.stderr
    assert run(adopted, "-c", "import llama_cpp").returncode == 1


# ---------------------------------------------------------------- what is refused


def refusal(python: Path, *options: str) -> str:
    ended = adopt(python, *options)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


def test_nothing_is_done_where_nobody_can_be_asked(fresh: Path) -> None:
    adopt(fresh, "--undo", "--yes")
    assert refusal(fresh) == (
        f"llamacffi adopt: Install {NAME}, with llamacffi's engine, into {fresh.parents[1]}? "
        "Nobody can be asked here: give --yes\n"
    )


@pytest.mark.parametrize("answer", ["n", ""])
def test_the_user_is_asked(fresh: Path, answer: str) -> None:
    ours, terminal = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    ended = run(fresh, "-m", "llamacffi", "adopt", stdin=terminal)
    os.close(ours)
    os.close(terminal)
    assert (ended.returncode, ended.stderr) == (1, "llamacffi adopt: nothing was changed\n")


def test_undoing_without_anything_to_undo_says_so(fresh: Path) -> None:
    adopt(fresh, "--undo", "--yes")
    said = refusal(fresh, "--undo", "--yes")
    assert (
        said == f"llamacffi adopt: {PIN['package']} is not installed in {fresh.parents[1]}: there is nothing to undo\n"
    )


@pytest.fixture
def another(fresh: Path, tmp_path: Path) -> Path:
    """An environment in which another llama-cpp-python is installed."""
    adopt(fresh, "--undo", "--yes")
    built = tmp_path / "llama_cpp_python-0.0.1-py3-none-any.whl"
    info = "llama_cpp_python-0.0.1.dist-info"
    files = {
        "llama_cpp/__init__.py": "__version__ = '0.0.1'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.0.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: another\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(built, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    output_of(fresh, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", built)
    return fresh


def test_another_one_is_neither_replaced_nor_removed_unasked(another: Path) -> None:
    where = another.parents[1]
    assert refusal(another, "--yes") == (
        f"llamacffi adopt: llama_cpp_python 0.0.1 is installed in {where}, with an engine of its own: "
        f"`pip uninstall {PIN['package']}`, or `llamacffi adopt --force` to replace it\n"
    )
    reason = f"{PIN['package']} 0.0.1 was not installed by llamacffi: `pip uninstall {PIN['package']}` removes it"
    assert refusal(another, "--undo", "--yes") == f"llamacffi adopt: {reason}\n"
    assert output_of(another, "-c", "import llama_cpp; print(llama_cpp.__version__)") == "0.0.1\n"


def test_another_one_is_replaced_where_it_is_said(another: Path, model_path: Path) -> None:
    assert adopt(another, "--yes", "--force").returncode == 0
    assert " Paris" in output_of(another, "-c", COMPLETE, model_path)
