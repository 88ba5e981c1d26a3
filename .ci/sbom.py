"""Print the bill of materials of a release, as CycloneDX: what is linked into the wheels, and what they ask for.

A tool that looks at Python packages cannot see llama.cpp inside of the extension; the pin says which it is.
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


def materials() -> dict[str, Any]:
    """Return the document; the same checkout gives the same one."""
    project = _toml("pyproject.toml")["project"]
    pin = _toml("third_party/llama.cpp/pin.toml")["source"]
    version = runpy.run_path(str(ROOT / "src" / "llamacffi" / "_version.py"))["__version__"]
    own = _component(project["name"], version, f"pkg:pypi/{project['name']}@{version}")
    engine = _component("llama.cpp", pin["commit"], f"pkg:github/ggml-org/llama.cpp@{pin['commit']}")
    archive = f"{pin['package']} {pin['version']}, sha256 {pin['sha256']}"
    engine["properties"] = [{"name": "llamacffi:source-archive", "value": archive}]
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in project["dependencies"]]
    parts = [engine, *({"type": "library", "name": name, "bom-ref": f"pkg:pypi/{name}"} for name in names)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own['purl'] + engine['purl'])}",
        "version": 1,
        "metadata": {"component": own},
        "components": parts,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    licenses = [{"license": {"id": "MIT"}}]
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl, "licenses": licenses}


def _toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    print(json.dumps(materials(), indent=2))
