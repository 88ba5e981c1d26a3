"""Damage files, the same way for the same seed: GGUF files by what their bytes mean, states as bytes."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf

from support import mutated_model

HUGE = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1)
HEADER = 24  # bytes: magic, version, number of tensors, number of pairs

Damage = Callable[[bytearray, gguf.GGUFReader, random.Random], None]


def gguf_file(intact: Path, seed: int) -> bytes:
    """Return the contents of `intact` with one to three kinds of damage."""
    chance = random.Random(seed)
    contents = bytearray(intact.read_bytes())
    kinds = PROJECTOR_DAMAGES if reader_of(intact).get_field("clip.projector_type") else GGUF_DAMAGES
    for damage in chance.choices(kinds, k=chance.choice((1, 1, 1, 2, 3))):
        damage(contents, reader_of(intact), chance)
    return bytes(contents)


@functools.cache
def reader_of(intact: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(intact)


@functools.cache
def lengths(intact: Path) -> list[int]:
    """Find the eight-byte lengths of strings and arrays in the metadata, and of the tensors' names."""
    return sorted(set(_lengths(reader_of(intact))))


def _lengths(reader: gguf.GGUFReader) -> Iterator[int]:
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):
            continue
        yield field.offset
        start = field.offset
        for part in field.parts[:40]:  # an array's first items stand for all
            if part.nbytes == 8 and part.dtype.itemsize == 8:
                yield start
            start += part.nbytes
    yield from (tensor.field.offset for tensor in reader.tensors)


@functools.cache
def tensor_numbers(intact: Path) -> list[tuple[int, int]]:
    """Find where each tensor's number of dimensions, dimensions, type and offset stand, with their sizes."""
    found = []
    for tensor in reader_of(intact).tensors:
        start = tensor.field.offset
        for part in tensor.field.parts:
            if part.dtype.itemsize in (4, 8):
                found += [(start + i * part.dtype.itemsize, part.dtype.itemsize) for i in range(len(part))]
            start += part.nbytes
    return found


def _path(reader: gguf.GGUFReader) -> Path:
    return Path(str(reader.data.filename))


def put(contents: bytearray, start: int, size: int, value: int) -> None:
    if start + size <= len(contents):
        contents[start : start + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")


def spoil_header(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    start, size = chance.choice(((0, 4), (4, 4), (8, 8), (16, 8)))
    put(contents, start, size, chance.choice((*HUGE, chance.randrange(64))))


def spoil_length(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    put(contents, chance.choice(lengths(_path(reader))), 8, chance.choice((*HUGE, chance.randrange(64))))


def spoil_tensor(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    """Make sizes huge, types unknown, offsets overlap."""
    places = tensor_numbers(_path(reader))
    if places:
        put(contents, *chance.choice(places), chance.choice((*HUGE, chance.randrange(64), 32 * chance.randrange(99))))


def spoil_number(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    places = sorted(set(mutated_model.number_places(reader)))
    for start in chance.choices(places, k=chance.randint(1, 2)) if places else ():
        put(contents, start, 4, chance.choice(mutated_model.ODD_NUMBERS))


def spoil_bytes(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        put(contents, chance.randrange(HEADER, max(HEADER + 1, reader.data_offset)), 1, chance.randrange(256))


def spoil_data(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    """Put odd values (also NaN and infinity) into the tensors' data."""
    for _ in range(chance.randint(1, 64)):
        put(contents, chance.randrange(len(contents)), 4, chance.choice((0x7FC00000, 0x7F800000, 0, 0xFFFFFFFF)))


def truncate(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    del contents[chance.randrange(len(contents)) :]
    contents += bytes(max(0, HEADER - len(contents)))


def lose_tensor(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    start, name = chance.choice(names(reader))
    put(contents, start + chance.randrange(len(name)), 1, ord("~"))


def exchange_tensors(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    """Give two tensors each other's name: as long, so that nothing moves."""
    start, name = chance.choice(names(reader))
    other_start, other = chance.choice([one for one in names(reader) if len(one[1]) == len(name)])
    contents[start : start + len(name)], contents[other_start : other_start + len(name)] = other, name


def reshape_tensor(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    """Leave the number of its elements, so that the file's other tensors stay where they are."""
    tensor = chance.choice(reader.tensors)
    sizes = [int(size) for size in tensor.shape]
    chance.shuffle(sizes)
    halved = chance.randrange(len(sizes))
    if sizes[halved] % 2 == 0 and chance.random() < 0.5:
        sizes[halved] //= 2
        sizes[chance.randrange(len(sizes))] *= 2
    start = tensor.field.offset + sum(part.nbytes for part in tensor.field.parts[:3])
    for index, size in enumerate(sizes):
        put(contents, start + 8 * index, 8, size)


def rename_value(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    """Put a projector of another type, with a name as long, or another truth, into the metadata."""
    field = chance.choice([one for one in reader.fields.values() if one.name.startswith("clip.")])
    start = field.offset + sum(part.nbytes for part in field.parts[:-1])
    if field.types[0] == gguf.GGUFValueType.BOOL:
        put(contents, start, 1, chance.choice((0, 1, 2)))
    elif field.types[0] == gguf.GGUFValueType.STRING:
        name = chance.choice([one for one in PROJECTOR_TYPES if len(one) == field.parts[-1].nbytes])
        contents[start : start + len(name)] = name.encode()


def names(reader: gguf.GGUFReader) -> list[tuple[int, bytes]]:
    """Find where the tensors' names stand, and what they are."""
    return [(one.field.offset + 8, one.name.encode()) for one in reader.tensors]


PROJECTOR_TYPES = ["ldp", "mlp", *(value for name, value in vars(gguf.VisionProjectorType).items() if name.isupper())]

# The gentler ones more often: what is refused at once tries little.
GGUF_DAMAGES: tuple[Damage, ...] = (
    spoil_header,
    spoil_length,
    spoil_tensor,
    truncate,
    *[spoil_bytes] * 2,
    *[spoil_number] * 4,
    *[spoil_data] * 4,
)


# Of files that a reader of headers takes: what a graph is made of and computes with is not what it should be.
PROJECTOR_DAMAGES: tuple[Damage, ...] = (
    *GGUF_DAMAGES[:5],
    spoil_data,
    rename_value,
    *[lose_tensor] * 3,
    *[exchange_tensors] * 3,
    *[reshape_tensor] * 4,
    *[spoil_number] * 6,
)


def state(intact: bytes, seed: int) -> bytes:
    """Return a saved state with some of its numbers replaced, or cut off, or with more behind it."""
    chance = random.Random(seed)
    contents = bytearray(intact)
    for _ in range(chance.choice((1, 1, 2, 4))):
        size = chance.choice((1, 4, 8))
        # The counts are at the front, and between the rows of numbers.
        end = chance.choice((64, 256, len(contents)))
        start = 4 * chance.randrange(max(1, min(end, len(contents)) // 4))
        put(contents, start, size, chance.choice((*HUGE, chance.randrange(300), chance.randrange(2**32))))
    if chance.random() < 0.2:
        del contents[chance.randrange(len(contents)) :]
    if chance.random() < 0.1:
        contents += chance.randbytes(chance.randrange(200))
    return bytes(contents)
