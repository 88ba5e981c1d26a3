"""Images and sound: mtmd's C functions, constants and types under their own names, as llama-cpp-python documents them.

They are built-ins of the same extension, and `llamacffi.llama_cpp` has them as well. Beside them stands what
llama-cpp-python's module has and the headers have not: the functions below, which take their options for granted.
"""

from __future__ import annotations

from llamacffi import llama_cpp
from llamacffi._native import functions, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIXES = ("mtmd_", "MTMD_")

globals().update({name: getattr(llama_cpp, name) for name in dir(lib) if name.startswith(PREFIXES)})

mtmd_helper_bitmap_init_from_file_wrapper = functions["mtmd_helper_bitmap_init_from_file"]
mtmd_helper_bitmap_init_from_buf_wrapper = functions["mtmd_helper_bitmap_init_from_buf"]


def __getattr__(name: str) -> Any:
    """Bring a ctypes type, or the library, on first use."""
    if name == "__all__":
        return [one for one in __dir__() if one.startswith(PREFIXES)]
    if not name.startswith(PREFIXES) and name != "_libmtmd":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(llama_cpp, "_lib" if name == "_libmtmd" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    types = {name for name in dir(llama_cpp) if name.startswith(PREFIXES)}
    return sorted(types | set(globals()))


def mtmd_get_audio_bitrate(ctx: Any) -> int:
    """Return the sample rate that a projector wants, with a DeprecationWarning.

    Args:
        ctx: the mtmd context.

    Returns:
        What `mtmd_get_audio_sample_rate` returns.

    Source: `mtmd_get_audio_sample_rate` in mtmd.h.
    """
    import warnings

    warnings.warn(
        "mtmd_get_audio_bitrate is deprecated; use mtmd_get_audio_sample_rate instead", DeprecationWarning, stacklevel=2
    )
    return int(functions["mtmd_get_audio_sample_rate"](ctx))


def mtmd_helper_bitmap_init_from_file(ctx: Any, fname: Any, placeholder: bool, opt: Any = None) -> int | None:
    """Read an image or a sound from a file.

    Args:
        ctx: the mtmd context; for sound, it says which sample rate is wanted.
        fname: the file's name.
        placeholder: whether to leave the data away, to count tokens.
        opt: a `mtmd_helper_init_opt`; None stands for `mtmd_helper_init_opt_default()`.

    Returns:
        A bitmap, to be freed with `mtmd_bitmap_free`, or None where the file could not be read (`last_error()` says
        why).

    Raises:
        LlamaValueError: it has more than 134,217,728 pixels or samples.

    Source: `mtmd_helper_bitmap_init_from_file` in mtmd-helper.h.
    """
    return _bitmap(mtmd_helper_bitmap_init_from_file_wrapper(ctx, fname, placeholder, _options(opt)))


def mtmd_helper_bitmap_init_from_buf(ctx: Any, buf: Any, length: int, placeholder: bool, opt: Any = None) -> int | None:
    """Read an image or a sound from memory that holds a file, as `mtmd_helper_bitmap_init_from_file` does from a file.

    Args:
        buf: the file's bytes.
        length: how many there are.

    Source: `mtmd_helper_bitmap_init_from_buf` in mtmd-helper.h.
    """
    return _bitmap(mtmd_helper_bitmap_init_from_buf_wrapper(ctx, buf, length, placeholder, _options(opt)))


def _options(given: Any) -> Any:
    return functions["mtmd_helper_init_opt_default"]() if given is None else given


def _bitmap(made: Any) -> int | None:
    bitmap: int | None = made.bitmap
    return bitmap
