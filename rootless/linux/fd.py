"""File descriptors: close_range(2), openat2(2), syncfs(2), getdents by /proc/self/fd."""

from __future__ import annotations

import ctypes
import errno
import os

from rootless.linux.libc import check, libc, syscall
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

RESOLVE_NO_XDEV: Final = 0x01  # linux/openat2.h
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_NR_CLOSE_RANGE: Final = 436  # asm-generic/unistd.h
_NR_OPENAT2: Final = 437
_MAX_FD: Final = 0xFFFFFFFF

_syncfs = libc.syncfs
_syncfs.argtypes = (ctypes.c_int,)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` under ``dirfd`` with restrictions on how it is resolved (openat2(2), Linux 5.6).

    ``mode`` must be 0 unless O_CREAT or O_TMPFILE is given (EINVAL). EAGAIN, a
    rename raced with RESOLVE_IN_ROOT, is retried here.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        try:
            return syscall(_NR_OPENAT2, dirfd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        except BlockingIOError:
            continue


def syncfs(fd: int) -> None:
    """Write the file system that ``fd`` is on to disk (syncfs(2))."""
    check(_syncfs(fd))


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor above 2 that is not in ``keep`` (close_range(2), Linux 5.9)."""
    first = 3
    for fd in sorted(set(keep)):
        if fd >= first:
            _close_range(first, fd - 1)
            first = fd + 1
    _close_range(first, _MAX_FD)


def _close_range(first: int, last: int) -> None:
    if first > last:
        return
    try:
        syscall(_NR_CLOSE_RANGE, first, last, 0)
    except OSError as e:
        if e.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            if first <= fd <= last:
                try:
                    os.close(fd)
                except OSError as gone:  # the descriptor of the listing itself
                    if gone.errno != errno.EBADF:
                        raise
