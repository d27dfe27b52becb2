"""A container's log: framed records in a few files of bounded size, written by its monitor.

A record is one read from the container: 8 bytes of time (nanoseconds since 1970), 1 of stream,
4 of length (big endian), then the bytes as they came. Stream 0 is a remark of the monitor's own,
as where a full disk left a gap. The newest file is ``current``; older ones are ``1``, ``2``, ...
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time

from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

STDOUT: Final = 1
STDERR: Final = 2
REMARK: Final = 0
_HEADER: Final = struct.Struct(">QBI")
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)
_FULL: Final = (*_DISK, errno.EMFILE, errno.ENFILE)
_READ_SIZE: Final = 1 << 18


class Record(NamedTuple):
    """One read: time in nanoseconds since 1970, stream, bytes."""

    time: int
    stream: int
    data: bytes


class LogWriter:
    """Appends records and rotates; a full disk never stops the container.

    ``max_size``: bytes a file may reach before it is rotated; ``max_files``: how many are kept.
    """

    def __init__(self, directory: str, *, max_size: int = 10_000_000, max_files: int = 3) -> None:
        self._directory = directory
        self._max_size = max_size
        self._max_files = max_files
        self._lost = 0
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(f"{self._directory}/current", flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: int, data: bytes) -> None:
        """Append one record; what a full disk refuses is counted and told in the next record that fits."""
        if self._size and self._size + len(data) > self._max_size:
            self._rotate()
        if self._lost:
            text = b"%d bytes of output were lost here: the disk was full\n" % self._lost
            if not self._append(REMARK, text):
                self._lost += len(data)
                return
            self._lost = 0
        if not self._append(stream, data):
            self._lost += len(data)

    def _append(self, stream: int, data: bytes) -> bool:
        header = _HEADER.pack(time.time_ns(), stream, len(data))
        wanted = len(header) + len(data)
        try:
            written = os.writev(self._fd, (header, data))
        except OSError as e:
            if e.errno not in _FULL:
                raise
            return False
        if written != wanted:
            os.ftruncate(self._fd, self._size)  # never half a record before a whole one
            return False
        self._size += wanted
        return True

    def _rotate(self) -> None:
        directory = self._directory
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            fd = os.open(f"{directory}/next", flags, 0o600)
        except OSError as e:
            if e.errno not in _FULL:
                raise
            return  # this file grows on
        for number in range(self._max_files - 1, 0, -1):
            source = f"{directory}/{number - 1}" if number > 1 else f"{directory}/current"
            try:
                os.rename(source, f"{directory}/{number}")
            except FileNotFoundError:
                continue
        os.rename(f"{directory}/next", f"{directory}/current")
        os.close(self._fd)
        self._fd, self._size = fd, 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class _Tail:
    """Reads whole records from one file, also while it grows."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = b""

    def records(self) -> Iterator[Record]:
        buffer = self._buffer
        while chunk := os.read(self._fd, _READ_SIZE):
            buffer += chunk
            at = 0
            while len(buffer) - at >= _HEADER.size:
                when, stream, length = _HEADER.unpack_from(buffer, at)
                end = at + _HEADER.size + length
                if len(buffer) < end:
                    break
                yield Record(when, stream, buffer[at + _HEADER.size : end])
                at = end
            buffer = buffer[at:]
            self._buffer = buffer

    def is_current(self, directory: str) -> bool:
        try:
            return os.stat(f"{directory}/current").st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        os.close(self._fd)


def read(directory: str) -> Iterator[Record]:
    """Yield every record, oldest first; half a record at the end of a file is left out."""
    for path in _files(directory):
        try:
            tail = _Tail(path)
        except FileNotFoundError:  # rotated away meanwhile
            continue
        try:
            yield from tail.records()
        finally:
            tail.close()


def _files(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    older = sorted((int(name) for name in names if name.isdigit()), reverse=True)
    paths = [f"{directory}/{number}" for number in older]
    return [*paths, f"{directory}/current"] if "current" in names else paths


def follow(directory: str, *, ended: Callable[[], bool], wake: int) -> Iterator[Record]:
    """Yield every record and go on until ``ended`` says that no more will come.

    ``wake``: a descriptor that becomes readable when the writer ends (its pidfd), or -1.
    """
    from rootless.linux import inotify  # not for the monitor, which only writes

    with inotify.Watch(directory, inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO) as watch:
        poll = select.poll()
        poll.register(watch.fd, select.POLLIN)
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        for path in _files(directory)[:-1]:
            older = _Tail(path)
            yield from older.records()
            older.close()
        tail = None
        while True:
            last = ended()  # asked before reading: what was written until then is read below
            if tail is None and os.path.exists(f"{directory}/current"):
                tail = _Tail(f"{directory}/current")
            if tail is not None:
                yield from tail.records()
                if not tail.is_current(directory):
                    yield from tail.records()
                    tail.close()
                    tail = None
                    continue
            if last:
                break
            poll.poll()
            watch.drain()
        if tail is not None:
            tail.close()
