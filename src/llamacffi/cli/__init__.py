"""The command line: one file a command, each thin over the functions of `llamacffi.llama_cpp`.

`main` finds the command. `demo`, `run` and `adopt` need the package alone; the others stand in `app`, which needs Typer
and Rich, the extra `cli`. What several share is in `options`, `engine`, `sampling`, `gguf_file` and `terminal`.
"""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what it was asked for; the text is the sentence for the user."""
