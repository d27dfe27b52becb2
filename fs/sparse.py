"""Maps of sparse files, in the four forms that GNU tar has written.

Source: GNU tar manual, appendix "Sparse Formats": the old GNU header, and PAX versions 0.0, 0.1 and 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from rootless.errors import BadImage

#: A file of this many pieces has 24 MiB of map; file systems give up earlier.
MAX_SEGMENTS: Final = 1 << 20
#: The kernel's own limit, loff_t.
_MAX_SIZE: Final = (1 << 63) - 1
_BLOCK: Final = 512
_LINE: Final = 21  # bytes of the longest line: 20 digits and a newline
_OLD_EXTENDED: Final = 21  # entries in a continuation block of the old form


class Sparse(NamedTuple):
    """A file of ``size`` bytes of which only ``segments``, (offset, length) in order, are in the archive."""

    size: int
    segments: tuple[tuple[int, int], ...]


def checked(size: int, segments: Iterable[tuple[int, int]], available: int) -> Sparse:
    """Return the map, if its segments are in order, within ``size``, and are all of the ``available`` bytes.

    Raises:
        BadImage: they are not.
    """
    if not 0 <= size <= _MAX_SIZE:
        raise BadImage(f"a sparse file cannot have a size of {size}")
    kept = []
    end = total = 0
    for offset, length in segments:
        if length < 0 or offset < end or offset + length > size:
            raise BadImage(f"the map of a sparse file is out of order or beyond its end: {offset}+{length} of {size}")
        end = offset + length
        total += length
        if length:
            kept.append((offset, length))
    if total != available:
        raise BadImage(f"the map of a sparse file names {total} bytes of data, its entry has {available}")
    return Sparse(size, tuple(kept))


def pairs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return (offset, length) pairs of a flat list."""
    if len(numbers) % 2:
        raise BadImage("the map of a sparse file has an odd number of numbers")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def parse_list(text: bytes) -> list[tuple[int, int]]:
    """Return the pairs of PAX 0.1 (and 0.0 joined): ``offset,length,offset,length``."""
    if not text:
        return []
    return pairs([_decimal(number) for number in text.split(b",")])


def read_old(
    block: bytes, number: Callable[[bytes], int], take: Callable[[], bytes]
) -> tuple[int, list[tuple[int, int]]]:
    """Return the real size and the pairs of an old GNU header; ``take`` gives its continuation blocks."""
    size = number(block[483:495])
    numbers: list[int] = []
    _read_old_entries(block, 386, 4, number, numbers)
    extended = block[482]
    while extended:
        more = take()
        _read_old_entries(more, 0, _OLD_EXTENDED, number, numbers)
        _refuse_endless(len(numbers) // 2)
        extended = more[504]
    return size, pairs(numbers)


def _read_old_entries(block: bytes, start: int, count: int, number: Callable[[bytes], int], into: list[int]) -> None:
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            return
        into.append(number(block[at : at + 12]))
        into.append(number(block[at + 12 : at + 24]))


def read_lines(take: Callable[[], bytes]) -> tuple[list[tuple[int, int]], int]:
    """Return the pairs of PAX 1.0, decimal lines before the data, and the bytes they took; ``take`` gives blocks."""
    text = take()
    used = _BLOCK
    if b"\n" not in text:
        raise BadImage("the map of a sparse file has no count")
    head, _, rest = text.partition(b"\n")
    wanted = 2 * _decimal(head)
    _refuse_endless(wanted // 2)
    pieces = [rest]
    lines = rest.count(b"\n")
    while lines < wanted:
        block = take()
        used += _BLOCK
        if used > 2 * _BLOCK + wanted * _LINE or not block.strip(b"\0"):
            raise BadImage("the map of a sparse file ends early")
        pieces.append(block)
        lines += block.count(b"\n")
    return pairs([_decimal(line) for line in b"".join(pieces).split(b"\n", wanted)[:wanted]]), used


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise BadImage(f"the map of a sparse file holds {text[:32]!r}, not a number")
    return int(text)


def _refuse_endless(count: int) -> None:
    if count > MAX_SEGMENTS:
        raise BadImage(f"the map of a sparse file has more than {MAX_SEGMENTS} pieces")
