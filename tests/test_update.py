"""What third_party/llama.cpp/update.py tells of two llama.cpp, and that the pin moves only where all went well.

The headers are small ones of our own; nothing is fetched or built.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bindgen import header_changes, trim_header
from support.checkout import ROOT

FILE = ROOT / "third_party" / "llama.cpp" / "update.py"

OLD = """
#define LLAMA_VERSION 3
enum llama_shape {
    LLAMA_SHAPE_ROUND,
    LLAMA_SHAPE_FLAT,  // as a table
};
struct llama_size {
    int32_t width;
    int32_t height;
    bool exact;
};
struct llama_thing;
typedef bool (*llama_hook)(void * data);
struct llama_gone { int32_t n; };
// Say how large it is.
// The caller frees nothing.
int32_t llama_thing_size(struct llama_thing * thing);
int32_t llama_thing_count(void);
void llama_thing_drop(struct llama_thing * thing);
"""
NEW = """
#define LLAMA_VERSION 4
#define LLAMA_LIMIT 7
enum llama_shape {
    LLAMA_SHAPE_SQUARE,
    LLAMA_SHAPE_ROUND,
    LLAMA_SHAPE_FLAT,  // as a plate
};
struct llama_size {
    int32_t width;
    int32_t depth;
    int64_t height;
    bool exact;
};
struct llama_thing;
typedef bool (*llama_hook)(void * data, int32_t step);
enum llama_mode { LLAMA_MODE_ONE };
// Say how large it is.
// The caller must free it.
int64_t llama_thing_size(struct llama_thing * thing);
int32_t llama_thing_count(void);
"""
REPORT = """\
came (4):
  LLAMA_LIMIT
  LLAMA_SHAPE_SQUARE (of enum llama_shape)
  struct llama_size.depth: int32_t depth
  enum llama_mode

went (2):
  struct llama_gone
  llama_thing_drop: void llama_thing_drop(struct llama_thing *thing)

declaration (3):
  struct llama_size.height:
    - int32_t height
    + int64_t height
  llama_hook:
    - typedef bool (*llama_hook)(void *data)
    + typedef bool (*llama_hook)(void *data, int32_t step)
  llama_thing_size:
    - int32_t llama_thing_size(struct llama_thing *thing)
    + int64_t llama_thing_size(struct llama_thing *thing)

layout (1):
  struct llama_size: 12 -> 24 bytes, height 4 -> 8 bytes, exact moved 8 -> 16

value (3):
  LLAMA_VERSION: 3 -> 4
  LLAMA_SHAPE_ROUND: 0 -> 1
  LLAMA_SHAPE_FLAT: 1 -> 2

comment (2):
  LLAMA_SHAPE_FLAT:
    - as a table
    + as a plate
  llama_thing_size:
    - The caller frees nothing.
    + The caller must free it.
"""


@pytest.fixture
def update() -> Any:
    spec = importlib.util.spec_from_file_location("update", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[str, str], Path]:
    """Make a folder with these headers."""

    def make(name: str, text: str) -> Path:
        include = tmp_path / name / "include"
        include.mkdir(parents=True)
        for header in trim_header.HEADERS:
            (include / header).write_text("")
        (include / "llama.h").write_text(f"#include <stdbool.h>\n#include <stdint.h>\n{text}")
        return tmp_path / name

    return make


# What differs


def test_the_report_tells_all_that_differs(checkout: Callable[[str, str], Path]) -> None:
    old, new = header_changes.facts(checkout("old", OLD)), header_changes.facts(checkout("new", NEW))
    assert header_changes.report(old, new) == REPORT


def test_the_report_says_where_nothing_differs(checkout: Callable[[str, str], Path]) -> None:
    facts = header_changes.facts(checkout("old", OLD))
    assert header_changes.report(facts, facts) == "The headers declare the same, with the same comments.\n"


def test_the_report_tells_what_the_policy_lacks(update: Any, checkout: Callable[[str, str], Path]) -> None:
    told = update.policy_lacks(
        checkout("new", "struct llama_thing;\nvoid llama_thing_use(struct llama_thing * thing);")
    )
    assert "  bindgen/policy.toml: llama_thing is a new type of handle (in llama_thing_use): write " in told


# The pin

PIN = """\
# A comment that stays.
[source]
package = "stand-in"
version = "1"
sha256 = "aa"
root = "vendor/llama.cpp"
commit = "012345678"
"""
NEXT = {"package": "stand-in", "version": "2", "sha256": "bb", "root": "vendor/llama.cpp", "commit": "9abcdef01"}


@pytest.fixture
def project(update: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script in a project of its own, whose archives are there and hold the headers, and whose build is `ended`."""
    (tmp_path / "pin.toml").write_text(PIN)
    for commit in ("012345678", "9abcdef01"):
        (tmp_path / f"source-{commit}").mkdir()
    monkeypatch.setattr(update, "HERE", tmp_path)
    monkeypatch.setattr(update.fetch, "HERE", tmp_path)
    monkeypatch.setattr(update, "ROOT", tmp_path)
    monkeypatch.setattr(update, "pin_of", lambda version, old: NEXT)
    monkeypatch.setattr(update.fetch, "unpack", lambda pin, root, patterns, into: into.mkdir())
    monkeypatch.setattr(update, "compare", lambda before, after: "what differs")
    commands: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str] | None = None, **options: Any) -> Any:
        given = {
            name: value for name, value in (env or {}).items() if name in ("LLAMACFFI_PIN", "LLAMACFFI_LLAMA_CPP_DIR")
        }
        commands.append((command, given))
        return subprocess.CompletedProcess(command, update.ended)

    monkeypatch.setattr(update.subprocess, "run", run)
    update.ended, update.commands, update.top = 0, commands, tmp_path
    return update


def test_what_passes_is_pinned_and_the_old_source_goes(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    project.update("2", None, False)
    build, grep = project.commands
    tried = project.top / "build" / "pin.toml"
    assert build == ([sys.executable, "-m", "nox", "-s", "fast"], {"LLAMACFFI_PIN": str(tried)})
    assert grep[0] == ["git", "grep", "-nF", "-e", "1", "-e", "012345678"]
    expected = PIN.replace('"1"', '"2"').replace('"aa"', '"bb"').replace("012345678", "9abcdef01")
    assert (project.top / "pin.toml").read_text() == tried.read_text() == expected
    assert {path.name for path in project.top.iterdir()} == {"build", "pin.toml", "source-9abcdef01"}
    said = capsys.readouterr().out
    assert said.startswith("llama.cpp 012345678 (stand-in 1) -> llama.cpp 9abcdef01 (stand-in 2)\n\nwhat differs\n")


def test_what_fails_leaves_the_old_pin_and_says_how_to_go_on(project: Any) -> None:
    project.ended = 1
    with pytest.raises(SystemExit, match="but ended with 1, so the pin is the old one: mend what stands above, try "):
        project.update("2", None, False)
    assert (project.top / "pin.toml").read_text() == PIN
    assert (project.top / "source-012345678").is_dir()


@pytest.mark.parametrize("which", ["a version", "a folder"])
def test_a_report_builds_and_pins_nothing(project: Any, which: str, checkout: Callable[[str, str], Path]) -> None:
    folder = checkout("new", NEW) if which == "a folder" else None
    project.update(None if folder else "2", folder, True)
    assert project.commands == []
    assert (project.top / "pin.toml").read_text() == PIN


def test_a_checkout_is_built_and_not_pinned(project: Any, checkout: Callable[[str, str], Path]) -> None:
    folder = checkout("new", NEW)
    project.update(None, folder, False)
    assert [command[1] for command in project.commands] == [{"LLAMACFFI_LLAMA_CPP_DIR": str(folder)}]
    assert (project.top / "pin.toml").read_text() == PIN


def archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_the_commit_is_read_in_the_archive(update: Any, tmp_path: Path) -> None:
    head = "stand_in-2/.git/modules/vendor/llama.cpp/HEAD"
    whole = "9abcdef0123456789abcdef0123456789abcdef0\n"
    assert update.commit_of(archive(tmp_path / "a.tar.gz", {"stand_in-2/x": "", head: whole}), head) == "9abcdef01"
    with pytest.raises(LookupError, match=r"b\.tar\.gz should hold .+HEAD, which names the commit, but does not"):
        update.commit_of(archive(tmp_path / "b.tar.gz", {"stand_in-2/x": ""}), head)


def test_a_pin_that_is_tried_is_read_from_its_own_file(
    update: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the tests that compare with llama-cpp-python take the version that has this llama.cpp."""
    (tmp_path / "tried.toml").write_text(PIN)
    monkeypatch.setenv("LLAMACFFI_PIN", str(tmp_path / "tried.toml"))
    assert update.fetch.pin()["version"] == "1"
