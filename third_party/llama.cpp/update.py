"""Move the pin to another llama.cpp: tell what differs, build it, run the fast tests, and only then write pin.toml.

    python third_party/llama.cpp/update.py VERSION          # of the package that pin.toml names, or `newest`
    python third_party/llama.cpp/update.py --report newest  # compare the headers, and nothing else
    python third_party/llama.cpp/update.py --from-dir DIR   # try any checkout of llama.cpp; the pin stays

It needs what the build needs (pyproject.toml, [build-system]), a C compiler and nox.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]

import fetch  # noqa: E402  (found beside this file, from any working directory)

from bindgen import header_changes, policy, trim_header  # noqa: E402

HEADERS = ("include/*", "ggml/include/*", "tools/mtmd/*.h")
COMMIT_DIGITS = 9  # as git shortens upstream's


# ---------------------------------------------------------------- the pin of another version


def pin_of(version: str, old: dict[str, str]) -> dict[str, str]:
    """Return what to pin for a version, or for the newest, with its archive in the cache of fetch.py."""
    package = old["package"]
    with tempfile.TemporaryDirectory() as scratch:
        archive = _download(package if version == "newest" else f"{package}=={version}", package, Path(scratch))
        found = archive.name.removesuffix(".tar.gz").rpartition("-")[2]
        sha256 = fetch.pinned_download.sha256_of(archive)
        new = {**old, "version": found, "sha256": sha256}
        new["commit"] = commit_of(archive, f"{fetch.top(new)}/.git/modules/{new['root']}/HEAD")
        fetch.pinned_download.cached(
            f"{package}-{found}-{sha256}",
            lambda place: fetch.pinned_download.sha256_of(place) == sha256,
            lambda made: shutil.move(archive, made),
        )
    return new


def _download(requirement: str, package: str, into: Path) -> Path:
    fetch.pinned_download.run_pip(
        ["download", "--no-deps", f"--no-binary={package}", "--dest", str(into), requirement],
    )
    (archive,) = into.iterdir()
    return archive


def commit_of(archive: Path, head: str) -> str:
    """Read the commit of the submodule, which the archive has under git's own name."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name == head and (file := tar.extractfile(member)):
                return file.read(COMMIT_DIGITS).decode()
    raise LookupError(f"{archive.name} should hold {head}, which names the commit, but does not: pin it by hand.")


def with_values(text: str, pin: dict[str, str]) -> str:
    """Put a pin's values into the text of pin.toml, and leave its comments."""
    for key, value in pin.items():
        text = re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', text, flags=re.M)
    return text


# ---------------------------------------------------------------- what differs


@contextmanager
def headers_of(pin: dict[str, str]) -> Iterator[Path]:
    """Unpack the headers that a pin names, for as long as they are looked at."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "headers")
        fetch.unpack(pin, pin["root"], HEADERS, folder)
        yield folder


def compare(old: Path, new: Path) -> str:
    """Tell what differs between the headers of two checkouts, and what the policy lacks for the second."""
    told = header_changes.report(header_changes.facts(old), header_changes.facts(new))
    return f"{told}\n{policy_lacks(new)}"


def policy_lacks(source: Path) -> str:
    """Tell where the headers and bindgen/policy.toml do not meet."""
    try:
        policy.judge(policy.load(), trim_header.trim(source))
    except policy.PolicyError as error:
        return header_changes.section("the policy lacks", str(error).splitlines())
    return "The policy lacks nothing.\n"


# ---------------------------------------------------------------- the update


def build_and_test(variable: str, value: Path) -> None:
    """Build what a variable of fetch.py names, and run the fast tests; where they fail, say how to go on."""
    command = [sys.executable, "-m", "nox", "-s", "fast"]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, variable: str(value)}, check=False)
    if ended.returncode:
        sys.exit(
            f"`nox -s fast` should have passed, but ended with {ended.returncode}, so the pin is the old one: mend "
            f"what stands above, try `{variable}={value} nox -R -s fast`, then run this again."
        )


def move_pin(old: dict[str, str], new: dict[str, str]) -> None:
    """Build and test with the new pin, pin it, drop the source that no longer is, and name what else to change."""
    tried, pinned = ROOT / "build" / "pin.toml", HERE / "pin.toml"
    tried.parent.mkdir(exist_ok=True)
    tried.write_text(with_values(pinned.read_text(encoding="utf-8"), new), encoding="utf-8")
    build_and_test("LLAMACFFI_PIN", tried)
    with fetch.pinned_download.made_beside(pinned) as made:
        shutil.copyfile(tried, made)
    if new["commit"] != old["commit"]:  # the other source would get into the source archive
        shutil.rmtree(HERE / f"source-{old['commit']}", ignore_errors=True)
    print(f"Pinned: {name_of(new)}. These lines name the old one:", flush=True)
    subprocess.run(["git", "grep", "-nF", "-e", old["version"], "-e", old["commit"]], cwd=ROOT, check=False)


def name_of(pin: dict[str, str]) -> str:
    return f"llama.cpp {pin['commit']} ({pin['package']} {pin['version']})"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("version", nargs="?", help="what to pin, or `newest`")
    which.add_argument("--from-dir", type=Path, metavar="DIR", help="try this checkout; the pin stays")
    parser.add_argument("--report", action="store_true", help="only compare the headers, and print what differs")
    given = parser.parse_args()
    try:
        update(given.version, given.from_dir, given.report)
    except (fetch.pinned_download.DownloadError, LookupError, FileNotFoundError) as error:
        sys.exit(str(error))


def update(version: str | None, folder: Path | None, only_report: bool) -> None:
    """Compare with what is pinned, and unless that is all, build, test and pin."""
    old = fetch.pin()
    if folder:
        checkout = fetch.checkout(folder.absolute(), "--from-dir")
        with headers_of(old) as before:
            print(f"{name_of(old)} -> {checkout}\n\n{compare(before, checkout)}", flush=True)
        if not only_report:
            build_and_test("LLAMACFFI_LLAMA_CPP_DIR", checkout)
        return
    new = pin_of(str(version), old)
    with headers_of(old) as before, headers_of(new) as after:
        print(f"{name_of(old)} -> {name_of(new)}\n\n{compare(before, after)}", flush=True)
    if new == old:
        print("It is pinned already.")
    elif not only_report:
        move_pin(old, new)


if __name__ == "__main__":
    main()
