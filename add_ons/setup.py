"""Build the wheel of an add-on engine: LLAMACFFI_ENGINE=vulkan pip wheel --no-deps ./add_ons.

The wheel holds the extension of llamacffi, built with one backend more, and is of use to the llamacffi of the same
version alone. There is no source archive of it: it is built out of a checkout or of llamacffi's own.
"""

from __future__ import annotations

import os
import pathlib
import runpy
import shutil
import sys
from typing import NamedTuple

from setuptools import Extension, setup

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
VERSION = runpy.run_path(str(ROOT / "src" / "llamacffi" / "_version.py"))["__version__"]


class Engine(NamedTuple):
    """What an add-on is for, and what it needs beside llamacffi."""

    devices: str
    requires: tuple[str, ...] = ()


ENGINES = {
    "cuda13": Engine("GPUs of NVIDIA, by CUDA 13", ("nvidia-cublas>=13,<14", "nvidia-cuda-runtime>=13,<14")),
    "vulkan": Engine("GPUs, by Vulkan"),
}
name = os.environ.get("LLAMACFFI_ENGINE", "")
if name not in ENGINES:
    sys.exit(f"llamacffi: LLAMACFFI_ENGINE should name the engine to build ({', '.join(ENGINES)}), not {name!r}")

of_package = runpy.run_path(str(ROOT / "setup.py"))
TEXT = f'"""The extension of llamacffi with a backend for {ENGINES[name].devices}: `import llamacffi` finds it."""\n'


class BuildEngine(of_package["BuildNative"]):
    """Build the extension alone, in a folder of its own: headers and stub are the package's."""

    engine = name

    def finalize_options(self) -> None:
        self.build_temp = self.build_temp or str(ROOT / "build" / name)
        super().finalize_options()

    def collect(self, extension: Extension) -> None:
        target = self.collect_extension(extension)
        version = f'\n__version__ = "{VERSION}"\n'
        target.with_name("__init__.py").write_text(TEXT + version, encoding="utf-8")


class WheelOfEngine(of_package["WheelWithLicences"]):
    """Put llamacffi's licence in too."""

    def write_wheelfile(self, wheelfile_base, *arguments, **options):
        super().write_wheelfile(wheelfile_base, *arguments, **options)
        shutil.copyfile(ROOT / "LICENSE", pathlib.Path(wheelfile_base) / "licenses" / "LICENSE")


setup(
    name=f"llamacffi-{name}",
    version=VERSION,
    description=f"An engine of llamacffi for {ENGINES[name].devices}.",
    license="MIT",
    python_requires=">=3.11",
    install_requires=[f"llamacffi=={VERSION}", *ENGINES[name].requires],
    packages=[],
    ext_modules=[Extension(f"llamacffi_{name}._llama", sources=[], py_limited_api=bool(of_package["STABLE_ABI"]))],
    cmdclass={"build_ext": BuildEngine, "bdist_wheel": WheelOfEngine},
    options=of_package["WHEEL_OPTIONS"],
)
