"""`llamacffi adopt`: install llama-cpp-python over this engine, without a compiler.

Out of the pinned source archive it makes a wheel of the same name and version: llama-cpp-python's own Python files and
licence, no shared library, and in the place of the modules that load one, modules that hand on llamacffi's. So every
package that requires llama-cpp-python finds it, and pip sees the requirement as met.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from llamacffi import pinned_download
from llamacffi._version import __version__

GENERATOR = "Generator: llamacffi"  # by which an installed one is known

# What the modules are that load a shared library in the archive's package.
OF_LLAMACFFI = '''"""llama.cpp's C functions, from llamacffi.

Put here by `llamacffi adopt`, in the place of llama-cpp-python's module, which loads a shared library.
"""

import sys

from llamacffi import {module}, replacement

replacement.give_attributes()
sys.modules[__name__] = {module}
'''
MISSING = '''"""Put here by `llamacffi adopt`, in the place of a module of llama-cpp-python that loads {library}."""

raise ImportError(
    f"{{__name__}} loads {library} of llama-cpp-python, and this one, made by `llamacffi adopt`, has none",
    name=__name__,
)
'''


class AdoptError(Exception):
    """The package could not be made, installed or removed; the text is the sentence for the user."""


def replaced() -> dict[str, str]:
    """Return the text of each module that is not taken as it is, by its file."""
    from llamacffi.replacement import FOREIGN, OWN

    modules = {name: OF_LLAMACFFI.format(module=module) for name, module in OWN.items()}
    modules |= {name: MISSING.format(library=library) for name, library in FOREIGN.items()}
    return {f"{name.replace('.', '/')}.py": text for name, text in modules.items()}


def pin() -> dict[str, str]:
    """Return which archive it is: the one whose llama.cpp this package was built from."""
    return dict(tomllib.loads(Path(__file__).with_name("pin.toml").read_text(encoding="utf-8"))["source"])


# ---------------------------------------------------------------- the wheel


def make_wheel(folder: Path) -> Path:
    """Write the wheel into a folder, in one step at its end, and return its path.

    Raises:
        DownloadError: if the archive could not be had.
    """
    source = pin()
    archive = pinned_download.cached_file(source["package"], source["version"], source["sha256"], source=True)
    name = f"{source['package'].replace('-', '_')}-{source['version']}"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-py3-none-any.whl"
    with pinned_download.made_beside(wheel) as made, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        record = f"{name}.dist-info/RECORD"
        lines = [_add(target, path, data) for path, data in _contents(archive, name)]
        _write(target, record, "".join([*lines, f"{record},,\n"]).encode())
    return wheel


def _contents(archive: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the wheel's files."""
    own = replaced()
    with tarfile.open(archive) as tar:
        for member in tar:
            path = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
            data = tar.extractfile(member)  # None for a folder
            if data and path.startswith("llama_cpp/") and path not in own:
                yield path, data.read()
            elif data and path == "PKG-INFO":
                yield f"{name}.dist-info/METADATA", _metadata(data.read())
            elif data and path.startswith("LICENSE"):
                yield f"{name}.dist-info/licenses/{path}", data.read()
    for file, text in own.items():
        yield file, text.encode()
    about = ("Wheel-Version: 1.0", f"{GENERATOR} {__version__}", "Root-Is-Purelib: true", "Tag: py3-none-any", "")
    yield f"{name}.dist-info/WHEEL", "\n".join(about).encode()


def _metadata(given: bytes) -> bytes:
    """Let pip know that it needs this package."""
    return given.replace(
        b"\nRequires-Dist: ", f"\nRequires-Dist: llamacffi=={__version__}\nRequires-Dist: ".encode(), 1
    )


def _add(target: zipfile.ZipFile, path: str, data: bytes) -> str:
    """Write a file, and return its line of the record."""
    _write(target, path, data)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


def _write(target: zipfile.ZipFile, path: str, data: bytes) -> None:
    info = zipfile.ZipInfo(path)  # with one date, so that the same archive makes the same wheel
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    target.writestr(info, data)


# ---------------------------------------------------------------- the environment


def installed() -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(pin()["package"])
    except importlib.metadata.PackageNotFoundError:
        return None


def is_ours(found: importlib.metadata.Distribution) -> bool:
    return GENERATOR in (found.read_text("WHEEL") or "")


def install(*, yes: bool, force: bool) -> str:
    """Install the wheel into this environment, and return the sentence that says so.

    Raises:
        AdoptError: something else is installed under that name, the user does not want it, or pip failed.
    """
    source = pin()
    found = installed()
    name = f"{source['package']} {source['version']}"
    if found and not is_ours(found) and not force:
        raise AdoptError(
            f"{found.name} {found.version} is installed in {sys.prefix}, with an engine of its own: "
            f"`pip uninstall {source['package']}`, or `llamacffi adopt --force` to replace it"
        )
    _ask(f"Install {name}, with llamacffi's engine, into {sys.prefix}?", yes)
    with tempfile.TemporaryDirectory() as folder:
        wheel = make_wheel(Path(folder))
        if found:
            _pip("install", "--force-reinstall", "--no-deps", str(wheel))
        _pip("install", str(wheel))  # with what it requires, all or nothing
    return f"{name} is installed, with llamacffi's engine; `llamacffi adopt --undo` removes it"


def undo(*, yes: bool) -> str:
    """Remove what `install` has installed, and return the sentence that says so."""
    package = pin()["package"]
    found = installed()
    if not found:
        raise AdoptError(f"{package} is not installed in {sys.prefix}: there is nothing to undo")
    name = f"{package} {found.version}"
    if not is_ours(found):
        raise AdoptError(
            f"{package} {found.version} was not installed by llamacffi: `pip uninstall {package}` removes it"
        )
    name = f"{package} {found.version}"
    _ask(f"Remove {name} from {sys.prefix}?", yes)
    _pip("uninstall", "--yes", package)
    return f"{name} is removed"


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise AdoptError(f"{question} Nobody can be asked here: give --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise AdoptError("nothing was changed")


def _pip(*arguments: str) -> None:
    try:
        pinned_download.run_pip(list(arguments))
    except pinned_download.DownloadError as error:
        raise AdoptError(str(error)) from None
