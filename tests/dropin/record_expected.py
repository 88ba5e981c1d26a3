"""Record in expected.json what scenarios.py tells on the ctypes library, which takes minutes to build.

    python -m venv /tmp/ctypes && /tmp/ctypes/bin/pip install --no-binary :all: "llama-cpp-python==VERSION"
    python tests/dropin/record_expected.py /tmp/ctypes/lib/python3*/site-packages/llama_cpp

VERSION is the one of third_party/llama.cpp/pin.toml. The floats in the file are those of the recording CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engines import EXPECTED, SCENARIOS, facts, run_theirs

from llamacffi import default_model


def main(peer: Path) -> None:
    """Run all scenarios and write one line for each."""
    with tempfile.TemporaryDirectory() as name:
        ended = run_theirs(peer.resolve(), Path(name), SCENARIOS, default_model.model_path(), name)
    if ended.returncode:
        sys.exit(ended.stderr)
    lines = (f"{json.dumps(name)}: {json.dumps(told)}" for name, told in facts(ended).items())
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
