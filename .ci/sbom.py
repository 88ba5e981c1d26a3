"""Print the bill of materials of a release, as CycloneDX: what is linked into the wheels, and what they ask for.

A tool that looks at Python packages cannot see llama.cpp inside of the extension; the pin says which it is. What
others wrote and llama.cpp brings with it is told by its own files, as they are fetched.
"""

from __future__ import annotations

import json
import re
import runpy
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# What is compiled into the extension of llama.cpp's vendor/: its file, its licence as SPDX writes it, and where the
# file says so and, in a group, which version it is. subprocess.h and rotate-bits say none.
VENDORED = {
    "stb_image": ("stb/stb_image.h", "MIT OR Unlicense", r"stb_image - v(\S+) - [^\0]+ALTERNATIVE A - MIT License"),
    "miniaudio": ("miniaudio/miniaudio.h", "Unlicense OR MIT-0", r"public domain or MIT-0[^\0]+?miniaudio - v(\S+) - "),
    "subprocess.h": ("sheredom/subprocess.h", "Unlicense", r"()This is free and unencumbered software"),
    "sha256": ("hash/sha256/sha256.c", "LicenseRef-public-domain", r"(\S+) : Igor Pavlov : Public domain"),
    "rotate-bits": ("hash/rotate-bits/LICENSE.md", "MIT", r"()MIT License"),
}


def materials() -> dict[str, Any]:
    """Return the document; the same checkout gives the same one."""
    project = _toml("pyproject.toml")["project"]
    version = runpy.run_path(str(ROOT / "src" / "llamacffi" / "_version.py"))["__version__"]
    own = _component(project["name"], version, f"pkg:pypi/{project['name']}@{version}")
    engine = _engine(_toml("third_party/llama.cpp/pin.toml")["source"])
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in project["dependencies"]]
    asked = [{"type": "library", "name": name, "bom-ref": f"pkg:pypi/{name}"} for name in names]
    vendored = _vendored()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own['purl'] + engine['purl'])}",
        "version": 1,
        "metadata": {"component": own},
        "components": [engine, *asked, *vendored],
        "dependencies": [_needs(own, [engine, *asked]), _needs(engine, vendored)],
    }


def _engine(pin: dict[str, str]) -> dict[str, Any]:
    archive = f"{pin['package']} {pin['version']}, sha256 {pin['sha256']}"
    return {
        **_component("llama.cpp", pin["commit"], f"pkg:github/ggml-org/llama.cpp@{pin['commit']}"),
        "properties": [{"name": "llamacffi:source-archive", "value": archive}],
    }


def _vendored() -> list[dict[str, Any]]:
    fetch = runpy.run_path(str(ROOT / "third_party" / "llama.cpp" / "fetch.py"))
    folder = fetch["pinned_dir"](fetch["pin"]()) / "vendor"
    return [_vendored_component(name, folder, *row) for name, row in VENDORED.items()]


def _vendored_component(name: str, folder: Path, file: str, licence: str, says: str) -> dict[str, Any]:
    found = re.search(says, (folder / file).read_text(encoding="utf-8"))
    if not found:
        raise SystemExit(
            f"vendor/{file} no longer says {says!r}: look which version and licence it has, and correct VENDORED"
        )
    purl = f"pkg:generic/{name}" + (f"@{found[1]}" if found[1] else "")
    return _component(name, found[1], purl, [{"expression": licence}])


def _component(name: str, version: str, purl: str, licenses: Any = ({"license": {"id": "MIT"}},)) -> dict[str, Any]:
    told = {"version": version} if version else {}
    return {"type": "library", "name": name, **told, "purl": purl, "bom-ref": purl, "licenses": [*licenses]}


def _needs(part: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    return {"ref": part["bom-ref"], "dependsOn": [other["bom-ref"] for other in others]}


def _toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    print(json.dumps(materials(), indent=2))
