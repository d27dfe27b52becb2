"""Recorded owners: who files belong to where the file system cannot say it, one sorted text file per tree."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from typing import NamedTuple


class OwnerRecord(NamedTuple):
    """The owner of ``path`` (relative, without a leading slash).

    ``mode`` is the whole st_mode with the type; ``rdev`` is "" or ``c:1:3`` or ``b:8:0``.
    """

    path: str
    uid: int
    gid: int
    mode: int
    rdev: str = ""


def write(path: str, records: Iterable[OwnerRecord]) -> None:
    """Put the records into the file ``path``, sorted; of two for one path the later counts.

    There is no file where there are no records.
    """
    by_name = {os.fsencode(record.path): record for record in records}
    if not by_name:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        return
    # One writer per tree: whoever stages or holds the layer.
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        for name in sorted(by_name):
            record = by_name[name]
            file.write(b"%b\t%d\t%d\t%o\t%b\n" % (_escape(name), *record[1:4], record.rdev.encode()))
    os.rename(temporary, path)


def read(path: str) -> list[OwnerRecord]:
    """Return all records of the file ``path``, sorted; none where there is no file."""
    try:
        with open(path, "rb") as file:
            return [_parse(line) for line in file]
    except FileNotFoundError:
        return []


def find(path: str, name: str) -> OwnerRecord | None:
    """Return the record of ``name`` from the file ``path``, reading a few pages of it only."""
    wanted = os.fsencode(name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(fd).st_size == 0:
            return None
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as view:
            return _bisect(view, wanted)
    finally:
        os.close(fd)


def _bisect(view: mmap.mmap, wanted: bytes) -> OwnerRecord | None:
    low, high = 0, len(view)  # always at starts of lines
    while low < high:
        start = view.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = view.find(b"\n", start, high) + 1 or high
        line = view[start:end]
        name = _unescape(line.partition(b"\t")[0])
        if name == wanted:
            return _parse(line)
        if name < wanted:
            low = end
        else:
            high = start
    return None


def _parse(line: bytes) -> OwnerRecord:
    name, uid, gid, mode, rdev = line.rstrip(b"\n").split(b"\t")
    return OwnerRecord(os.fsdecode(_unescape(name)), int(uid), int(gid), int(mode, 8), rdev.decode())


def _escape(name: bytes) -> bytes:
    return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\t", b"\\t")


def _unescape(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    # Split at escaped backslashes first, so that "\\n" stays a backslash and an n.
    parts = text.split(b"\\\\")
    return b"\\".join(part.replace(b"\\n", b"\n").replace(b"\\t", b"\t") for part in parts)
