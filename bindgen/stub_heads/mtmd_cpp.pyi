"""Images and sound: mtmd's C functions, constants and types; all of them but the functions below are `llama_cpp`'s."""

from typing_extensions import deprecated

from llamacffi.llama_cpp import (
    _Characters,
    _Flag,
    _Handle,
    _Integer,
    _Text,
    mtmd_bitmap_p,
    mtmd_context_p,
    mtmd_helper_init_opt,
)
from llamacffi.llama_cpp import mtmd_helper_bitmap_init_from_buf as mtmd_helper_bitmap_init_from_buf_wrapper
from llamacffi.llama_cpp import mtmd_helper_bitmap_init_from_file as mtmd_helper_bitmap_init_from_file_wrapper
from llamacffi.old_code import Library as _Library

_libmtmd: _Library

@deprecated("use mtmd_get_audio_sample_rate instead")
def mtmd_get_audio_bitrate(ctx: mtmd_context_p | _Handle) -> int:
    """Return the sample rate that a projector wants."""

def mtmd_helper_bitmap_init_from_file(
    ctx: mtmd_context_p | _Handle,
    fname: _Text,
    placeholder: _Flag,
    opt: mtmd_helper_init_opt | None = None,
) -> mtmd_bitmap_p | None:
    """Read an image or a sound from a file; None where it could not be read."""

def mtmd_helper_bitmap_init_from_buf(
    ctx: mtmd_context_p | _Handle,
    buf: _Characters,
    length: _Integer,
    placeholder: _Flag,
    opt: mtmd_helper_init_opt | None = None,
) -> mtmd_bitmap_p | None:
    """Read an image or a sound from memory that holds a file; None where it could not be read."""
