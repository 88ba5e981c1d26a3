"""Route what llama.cpp logs into Python's `logging`."""

from __future__ import annotations

import logging
import threading

from llamacffi import llama_cpp
from llamacffi._native import lib

LEVELS = {
    lib.GGML_LOG_LEVEL_NONE: logging.INFO,
    lib.GGML_LOG_LEVEL_DEBUG: logging.DEBUG,
    lib.GGML_LOG_LEVEL_INFO: logging.INFO,
    lib.GGML_LOG_LEVEL_WARN: logging.WARNING,
    lib.GGML_LOG_LEVEL_ERROR: logging.ERROR,
}


class _Lines(threading.local):
    """What a thread has logged of a line that is not at its end yet."""

    text = b""
    level = logging.INFO


def log_to(logger: str | logging.Logger | None) -> None:
    """Send llama.cpp's log to `logging`.

    A record is one line: what llama.cpp logs in pieces (continuations, lines without an end) is joined first.

    Args:
        logger: a logger or its name; None sends the log to stderr again.

    Source: `llama_log_set` in llama.h, levels of `enum ggml_log_level` in ggml.h.
    """
    if logger is None:
        lib.llama_log_set(None, None)
        return
    target = logging.getLogger(logger) if isinstance(logger, str) else logger
    lines = _Lines()

    def pass_on(level: int, text: bytes, _user_data: object) -> None:
        if level != lib.GGML_LOG_LEVEL_CONT:
            flush()
            lines.level = LEVELS.get(level, logging.INFO)
        lines.text += text
        if lines.text.endswith(b"\n"):
            flush()

    def flush() -> None:
        text, lines.text = lines.text.strip(b"\n").decode("utf-8", "replace"), b""
        if text:
            target.log(lines.level, "%s", text)

    lib.llama_log_set(llama_cpp.llama_log_callback(pass_on), None)
