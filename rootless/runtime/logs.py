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

    def successor(self, directory: str) -> tuple[_Tail | None, bool]:
        """Return the next newer file, None if there is none yet, and whether files between were removed unread.

        A rotation renames from the oldest to the newest: as long as this file has its name, so have all newer ones.
        """
        inode = os.fstat(self._fd).st_ino
        while True:
            position = _position(directory, inode)
            if position == 0:
                return None, False
            if position is None:
                return _oldest(directory), True
            try:
                newer = _Tail(_path(directory, position - 1))
            except FileNotFoundError:
                if position == 1:
                    return None, False  # the new one is about to be made
                continue
            if _inode(_path(directory, position)) == inode:
                return newer, False
            newer.close()

    def close(self) -> None:
        os.close(self._fd)


def _path(directory: str, position: int) -> str:
    return f"{directory}/{position or 'current'}"


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _numbers(directory: str) -> list[int]:
    """Return the positions of the files there are, 0 for the newest; the oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(name) if name != "current" else 0 for name in names if name.isdigit() or name == "current")[::-1]


def _position(directory: str, inode: int) -> int | None:
    # Upwards, as files move when they are rotated: none is missed.
    for position in range(max(_numbers(directory), default=0) + 3):
        if _inode(_path(directory, position)) == inode:
            return position
    return None


def _oldest(directory: str) -> _Tail | None:
    while numbers := _numbers(directory):
        try:
            return _Tail(_path(directory, numbers[0]))
        except FileNotFoundError:  # rotated meanwhile
            continue
    return None


def read(directory: str) -> Iterator[Record]:
    """Yield every record there is, oldest first; half a record at the end of a file is left out."""
    walk = _Walk(directory)
    yield from walk.records()
    walk.close()


class _Walk:
    """Goes from the oldest file to the newest, and on, while they are rotated and written."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._tail: _Tail | None = None

    def records(self) -> Iterator[Record]:
        """Yield what there is now and was not yet yielded."""
        tail = self._tail or _oldest(self._directory)
        while tail is not None:
            self._tail = tail
            yield from tail.records()
            newer, lost = tail.successor(self._directory)
            if newer is None:
                return
            yield from tail.records()  # what came between the last read and the rotation
            if lost:
                yield Record(time.time_ns(), REMARK, b"a part of the log was removed here before it was read\n")
            tail.close()
            tail = newer

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()


def follow(directory: str, *, ended: Callable[[], bool], wake: int) -> Iterator[Record]:
    """Yield every record and go on until ``ended`` says that no more will come.

    ``wake``: a descriptor that becomes readable when the writer ends (its pidfd), or -1.
    """
    from rootless.linux import inotify

    with inotify.Watch(directory, inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO) as watch:
        poll = select.poll()
        poll.register(watch.fd, select.POLLIN)
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        walk = _Walk(directory)
        while True:
            last = ended()  # asked before reading: what was written until then is read below
            yield from walk.records()
            if last:
                break
            poll.poll()
            watch.drain()
        walk.close()
