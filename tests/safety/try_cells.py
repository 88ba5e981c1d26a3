"""Try cells in this process: `try_cells.py MODEL TODO DONE`; cell_runner.py starts it and reads DONE.

Each cell has a model, a context and a vocabulary of its own. One that hangs is ended by SIGALRM.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "border")]

import world  # noqa: E402

SECONDS = 20  # for one cell
ADDRESS_SPACE = 6 * 2**30


def outcome(code: str) -> str:
    signal.alarm(SECONDS)
    names = fresh_names()
    *body, last = code.strip().split("\n")
    try:
        exec("\n".join(body), names)
        return f"returned {eval(last, names)!r}"
    except Exception as error:
        return f"{type(error).__name__} {error}"
    finally:
        free(names)


def free(names: dict[str, object]) -> None:
    """Free what the cell has left alive, and take back what it has set."""
    world.llamacffi.log_to("quiet")
    for function, name in ((world.L.llama_free, "ctx"), (world.L.llama_model_free, "model")):
        with contextlib.suppress(world.llamacffi.LlamaError):
            function(names[name])


def fresh_names() -> dict[str, object]:
    model = world.load()
    names: dict[str, object] = {name: getattr(world, name) for name in world.__all__}
    return names | {
        "model": model,
        "ctx": world.context_of(model),
        "vocab": world.L.llama_model_get_vocab(model),
    }


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    cells = json.loads(Path(sys.argv[2]).read_text())
    with Path(sys.argv[3]).open("w") as done:
        for name, code in cells.items():
            done.write(json.dumps([name, outcome(code)]) + "\n")
            done.flush()


if __name__ == "__main__":
    main()
